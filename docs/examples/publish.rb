# Publish a file of events, one per line, to a log of etlog with the gem redis (Debian: ruby-redis).
#
#   ruby publish.rb events.ndjson             call the function of the store: each event arrives exactly once
#   ruby publish.rb --plain events.ndjson     plain XADD: nothing to call, and nothing that notices a loss or a repetition
#
# ETLOG_REDIS_URL is the address of the store, ETLOG_NAME the name of the log.
require "redis"
require "securerandom"
require "socket"

PLAIN = ARGV.first == "--plain"
ARGV.shift if PLAIN
if ARGV.size != 1
  warn "usage: publish.rb [--plain] FILE"
  exit 2
end
EVENTS = File.readlines(ARGV.first, chomp: true).reject { |line| line.b.strip.empty? }

LOG = "etlog:{#{ENV.fetch('ETLOG_NAME', 'default')}}"
KEYS = %w[events producers producers:seen producers:ended stats contract id].map { |key| "#{LOG}:#{key}" }
BATCH = 100 # an entry holds up to 500 events, and up to 64 KiB unless it holds a single one

STORE = Redis.new(url: ENV.fetch("ETLOG_REDIS_URL", "redis://127.0.0.1:6379/0"), timeout: 5, reconnect_attempts: 0)

def publish_plain
  EVENTS.each_slice(BATCH) do |batch|
    fields = batch.each_with_index.flat_map { |event, place| [place.zero? ? "event" : "event.#{place}", event] }
    STORE.call("XADD", "#{LOG}:events", "*", *fields) # on an error they are in the stream, or they are not
  end
end

def publish
  producer = "#{Socket.gethostname}-#{Process.pid}-#{SecureRandom.hex(16)}" # never used by another process
  token = SecureRandom.hex(8) # and this proves it
  log_id = "" # of the log, as the store answers it
  held = 0 # number of the last event that the store holds
  failed = false # whether a call had no answer
  loop do
    batch = EVENTS[held, BATCH]
    # When nothing is left, the store need not remember this producer. That is said once, and not after a failed call,
    # which may still be on its way, and would count anew. The store remembers the producer for 90 days then.
    return if batch.empty? && failed

    mode = batch.empty? ? "close" : "follow"
    begin
      # "OK" and the last number, or "GAP" and the number to go on from: the store lost what was not on its disk.
      outcome, held, log_id =
        STORE.call("FCALL", "etlog_publish_2", KEYS.size, *KEYS, producer, token, log_id, held + 1, mode, *batch)
      return if mode == "close" && outcome == "OK"
    rescue Redis::BaseError => e
      raise if e.message.match?(/\b(ARGUMENT|CONTRACT|LOG|TAKEN|NOPERM|NOAUTH|WRONGPASS) /)

      warn "publish: will keep trying: #{e.message}" unless failed
      failed = true # the same call is made again; what the store has already it does not append again
      sleep 0.5
    end
  end
end

PLAIN ? publish_plain : publish
