// Publish a file of events, one per line, to a log of etlog with github.com/redis/go-redis/v9.
//
//	go run publish.go events.ndjson             call the function of the store: each event arrives exactly once
//	go run publish.go --plain events.ndjson     plain XADD: nothing to call, and nothing that notices a loss or a repetition
//
// ETLOG_REDIS_URL is the address of the store, ETLOG_NAME the name of the log.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const batchSize = 100 // an entry holds up to 500 events, and up to 64 KiB unless it holds a single one

var final = regexp.MustCompile(`\b(ARGUMENT|CONTRACT|LOG|TAKEN|NOPERM|NOAUTH|WRONGPASS) `)

func main() {
	args := os.Args[1:]
	publish := publishOnce
	if len(args) > 0 && args[0] == "--plain" {
		args, publish = args[1:], publishPlain
	}
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: publish [--plain] FILE")
		os.Exit(2)
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		log.Fatal(err)
	}
	var events []string
	for _, line := range strings.Split(string(text), "\n") {
		if strings.TrimSpace(line) != "" {
			events = append(events, line)
		}
	}

	options, err := redis.ParseURL(setting("ETLOG_REDIS_URL", "redis://127.0.0.1:6379/0"))
	if err != nil {
		log.Fatal(err)
	}
	options.MaxRetries = -1 // a repeated XADD would add the events twice
	client := redis.NewClient(options)
	defer client.Close()

	prefix := fmt.Sprintf("etlog:{%s}:", setting("ETLOG_NAME", "default"))
	if err := publish(context.Background(), client, prefix, events); err != nil {
		log.Fatal(err)
	}
}

func publishPlain(ctx context.Context, client *redis.Client, prefix string, events []string) error {
	for first := 0; first < len(events); first += batchSize {
		var fields []any
		for place, event := range events[first:min(first+batchSize, len(events))] {
			name := "event"
			if place > 0 {
				name = fmt.Sprintf("event.%d", place)
			}
			fields = append(fields, name, event)
		}
		// On an error they are in the stream, or they are not.
		if err := client.XAdd(ctx, &redis.XAddArgs{Stream: prefix + "events", Values: fields}).Err(); err != nil {
			return err
		}
	}
	return nil
}

func publishOnce(ctx context.Context, client *redis.Client, prefix string, events []string) error {
	var keys []string
	for _, key := range []string{"events", "producers", "producers:seen", "producers:ended", "stats", "contract", "id"} {
		keys = append(keys, prefix+key)
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	producer := fmt.Sprintf("%s-%d-%s", host, os.Getpid(), random(16)) // never used by another process
	token := random(8)                                                 // and this proves it
	logID := ""                                                        // of the log, as the store answers it
	held := 0                                                          // number of the last event that the store holds
	failed := false                                                    // whether a call had no answer
	for {
		batch := events[held:min(held+batchSize, len(events))]
		mode := "follow"
		if len(batch) == 0 {
			// Nothing is left: the store need not remember this producer. That is said once, and not after a failed
			// call, which may still be on its way, and would count anew. It is remembered for 90 days then.
			if failed {
				return nil
			}
			mode = "close"
		}
		args := []any{producer, token, logID, held + 1, mode}
		for _, event := range batch {
			args = append(args, event)
		}
		answer, err := client.FCall(ctx, "etlog_publish_2", keys, args...).Slice()
		if err != nil {
			if final.MatchString(err.Error()) {
				return err
			}
			if !failed {
				fmt.Fprintln(os.Stderr, "publish: will keep trying:", err)
			}
			failed = true // the same call is made again; what the store has already it does not append again
			time.Sleep(500 * time.Millisecond)
			continue
		}
		if mode == "close" && answer[0] == "OK" {
			return nil
		}
		// "OK" and the last number, or "GAP" and the number to go on from: the store lost what was not on its disk.
		held, logID = int(answer[1].(int64)), answer[2].(string)
	}
}

func random(bytes int) string {
	drawn := make([]byte, bytes)
	if _, err := rand.Read(drawn); err != nil {
		log.Fatal(err)
	}
	return hex.EncodeToString(drawn)
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
