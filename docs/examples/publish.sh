#!/bin/sh
# Publish a file of events, one per line, to a log of etlog with redis-cli 7 or newer.
#
#   publish.sh events.ndjson             call the function of the store: each event arrives exactly once
#   publish.sh --plain events.ndjson     plain XADD: nothing to call, and nothing that notices a loss or a repetition
#
# ETLOG_REDIS_URL is the address of the store, ETLOG_NAME the name of the log.
set -eu

plain=
if [ "${1-}" = --plain ]; then plain=yes; shift; fi
if [ $# != 1 ]; then echo 'usage: publish.sh [--plain] FILE' >&2; exit 2; fi
file=$1
if [ ! -r "$file" ]; then echo "publish: cannot read $file" >&2; exit 1; fi

url=${ETLOG_REDIS_URL:-redis://127.0.0.1:6379/0}
log="etlog:{${ETLOG_NAME:-default}}"

# An entry holds up to 500 events, and up to 64 KiB unless it holds a single one.
batch=100

store() { timeout 10 redis-cli -u "$url" -e "$@" 2>&1; }

# The lines of the next events: number $1 and what follows. Blank lines are none.
lines() { sed '/^[[:space:]]*$/d' "$file" | sed -n "$1,$(($1 + batch - 1))p"; }

if [ "$plain" ]; then
  first=1
  while events=$(lines "$first") && [ -n "$events" ]; do
    place=0
    set -- # event ... event.1 ... event.2 ...
    while IFS= read -r event; do
      if [ "$place" = 0 ]; then set -- event "$event"; else set -- "$@" "event.$place" "$event"; fi
      place=$((place + 1))
    done <<EOF
$events
EOF
    # On an error they are in the stream, or they are not.
    answer=$(store XADD "$log:events" '*' "$@") || { echo "publish: ${answer:-no answer}" >&2; exit 1; }
    first=$((first + place))
  done
  exit
fi

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
producer="$(hostname)-$$-$(random 16)" # never used by another process
token=$(random 8)                      # and this proves it
log_id=                                # of the log, as the store answers it

held=0   # number of the last event that the store holds
failed=0 # calls without an answer

call() { # mode [event ...]
  answer=$(store FCALL etlog_publish_2 7 "$log:events" "$log:producers" "$log:producers:seen" \
    "$log:producers:ended" "$log:stats" "$log:contract" "$log:id" "$producer" "$token" "$log_id" $((held + 1)) "$@")
}

take_answer() { # "OK" and the last number, or "GAP" and the number to go on from: the store lost what was not on its disk
  { read -r outcome; read -r held; read -r log_id; } <<EOF
$answer
EOF
}

while :; do
  events=$(lines $((held + 1)))
  if [ -z "$events" ]; then
    # Nothing is left: the store need not remember this producer. That is said once, and not after a failed call, which
    # may still be on its way, and would count anew. The store remembers the producer for 90 days then.
    if [ "$failed" = 0 ] && call close; then
      take_answer
      if [ "$outcome" = GAP ]; then continue; fi
    fi
    exit
  fi

  set --
  while IFS= read -r event; do set -- "$@" "$event"; done <<EOF
$events
EOF
  # After an error the same call is made again. What the store has already it does not append again.
  until call follow "$@"; do
    case $answer in
      *ARGUMENT\ *|*CONTRACT\ *|*LOG\ *|*TAKEN\ *|*NOPERM\ *|*NOAUTH\ *|*WRONGPASS\ *) echo "publish: $answer" >&2; exit 1 ;;
    esac
    if [ "$failed" = 0 ]; then echo "publish: will keep trying: ${answer:-no answer}" >&2; fi
    failed=$((failed + 1))
    sleep 0.5
  done
  take_answer
done
