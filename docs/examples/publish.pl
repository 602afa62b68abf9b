# Publish a file of events, one per line, to a log of etlog with Redis.pm (Debian: libredis-perl).
#
#   perl publish.pl events.ndjson             call the function of the store: each event arrives exactly once
#   perl publish.pl --plain events.ndjson     plain XADD: nothing to call, and nothing that notices a loss or a repetition
#
# ETLOG_REDIS_URL is the address of the store (redis://host:port), ETLOG_NAME the name of the log.
use strict;
use warnings;
use Redis;
use Sys::Hostname qw(hostname);
use Time::HiRes qw(sleep);

my $plain = @ARGV && $ARGV[0] eq '--plain' && shift;
if (@ARGV != 1) {
    print STDERR "usage: publish.pl [--plain] FILE\n";
    exit 2;
}
open my $file, '<:raw', $ARGV[0] or die "$ARGV[0]: $!";
chomp(my @events = grep { /\S/ } <$file>);

my ($server) = ($ENV{ETLOG_REDIS_URL} // 'redis://127.0.0.1:6379/0') =~ m{^redis://([^/@]+)} or die "no address\n";
my $log  = "etlog:{" . ($ENV{ETLOG_NAME} // 'default') . "}";
my @keys = map { "$log:$_" } qw(events producers producers:seen producers:ended stats contract id);
my $BATCH = 100;    # an entry holds up to 500 events, and up to 64 KiB unless it holds a single one

my $store;          # the connection; undef after it failed

sub store {
    $store //= Redis->new(server => $server, cnx_timeout => 5, read_timeout => 5, write_timeout => 5);
    return $store;
}

# The next events, behind the number $held.
sub batch {
    my ($held) = @_;
    my $last = $held + $BATCH < @events ? $held + $BATCH : @events;
    return @events[$held .. $last - 1];
}

sub publish_plain {
    for (my $first = 0; my @batch = batch($first); $first += @batch) {
        my @fields = map { ($_ ? "event.$_" : 'event', $batch[$_]) } 0 .. $#batch;
        store()->xadd("$log:events", '*', @fields);    # on an error they are in the stream, or they are not
    }
}

sub random_hex {
    my ($bytes) = @_;
    open my $random, '<:raw', '/dev/urandom' or die $!;
    read($random, my $read, $bytes) == $bytes or die "no random bytes\n";
    return unpack 'H*', $read;
}

sub publish {
    my $producer = join '-', hostname(), $$, random_hex(16);    # never used by another process
    my $token    = random_hex(8);                               # and this proves it
    my $log_id   = '';                                          # of the log, as the store answers it
    my $held     = 0;    # number of the last event that the store holds
    my $failed   = 0;    # whether a call had no answer
    while (1) {
        my @batch = batch($held);
        # When nothing is left, the store need not remember this producer. That is said once, and not after a failed
        # call, which may still be on its way, and would count anew. The store remembers the producer for 90 days then.
        return if !@batch && $failed;
        my @call   = ($producer, $token, $log_id, $held + 1, @batch ? 'follow' : 'close', @batch);
        my $answer = eval { store()->fcall('etlog_publish_2', scalar @keys, @keys, @call) };
        if (!$answer) {
            die $@ if $@ =~ /\b(ARGUMENT|CONTRACT|LOG|TAKEN|NOPERM|NOAUTH|WRONGPASS) /;
            print STDERR "publish: will keep trying: $@" if !$failed;
            $failed = 1;    # the same call is made again; what the store has already it does not append again
            $store  = undef;
            sleep 0.5;
            next;
        }
        # "OK" and the last number, or "GAP" and the number to go on from: the store lost what was not on its disk.
        (my $outcome, $held, $log_id) = @$answer;
        return if !@batch && $outcome eq 'OK';
    }
}

$plain ? publish_plain() : publish();
