// A load generator for etcd with etcd's own client, which measures what `paxoskv bench` measures.
//
// Each client is a goroutine with one operation outstanding; they share a few gRPC connections, as in etcd's own
// benchmark tool. Prints one JSON object with the keys of `paxoskv bench --json`, and the CPU seconds it used.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/clientv3"
)

var (
	endpoints    = flag.String("endpoints", "127.0.0.1:2379", "client addresses, separated by commas")
	clients      = flag.Int("clients", 256, "each has one operation outstanding")
	connections  = flag.Int("conns", 12, "gRPC connections that the clients share, at most one a client")
	duration     = flag.Duration("duration", 5*time.Second, "how long to measure")
	warmup       = flag.Duration("warmup", time.Second, "how long to load before measuring")
	keys         = flag.Int("keys", 10000, "number of keys, drawn uniformly")
	valueSize    = flag.Int("value-size", 64, "bytes")
	readRatio    = flag.Float64("read-ratio", 0, "share of linearizable reads")
	operation    = flag.String("op", "put", "put, or incr: a read and a conditional write of one key, again until it succeeds")
	distribution = flag.String("distribution", "uniform", "uniform, one-key, or fresh: every key is written once")
	load         = flag.Bool("load", true, "write every key once before measuring")
	prefix       = flag.String("prefix", "bench/", "of the keys")
)

const timeout = 5 * time.Second

type tally struct {
	latencies []time.Duration
	errors    map[string]int
	done      int64
	unknown   int64
}

func main() {
	flag.Parse()
	stores := dial()
	value := strings.Repeat("v", *valueSize)
	if *load && *distribution == "uniform" {
		fill(stores, value)
	}
	var fresh int64
	measuring, stopping := new(int32), new(int32)
	tallies := make([]tally, *clients)
	var group sync.WaitGroup
	for index := range tallies {
		group.Add(1)
		go func(index int) {
			defer group.Done()
			run(stores[index%len(stores)], &tallies[index], rand.New(rand.NewSource(int64(index))), value, &fresh, measuring, stopping)
		}(index)
	}
	time.Sleep(*warmup)
	before := cpu()
	began := time.Now()
	atomic.StoreInt32(measuring, 1)
	time.Sleep(*duration)
	atomic.StoreInt32(measuring, 0)
	seconds := time.Since(began).Seconds()
	used := cpu() - before
	atomic.StoreInt32(stopping, 1)
	group.Wait()
	report(stores, tallies, seconds, used)
}

func dial() []*clientv3.Client {
	addresses := strings.Split(*endpoints, ",")
	count := *connections
	if *clients < count {
		count = *clients
	}
	stores := make([]*clientv3.Client, count)
	for index := range stores {
		// One endpoint each, all of them in turn: every member takes requests.
		store, err := clientv3.New(clientv3.Config{
			Endpoints:   []string{addresses[index%len(addresses)]},
			DialTimeout: timeout,
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "cannot connect:", err)
			os.Exit(1)
		}
		stores[index] = store
	}
	return stores
}

func fill(stores []*clientv3.Client, value string) {
	var next int64 = -1
	var group sync.WaitGroup
	for lane := 0; lane < 256; lane++ {
		group.Add(1)
		go func(lane int) {
			defer group.Done()
			for {
				number := atomic.AddInt64(&next, 1)
				if number >= int64(*keys) {
					return
				}
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				if _, err := stores[lane%len(stores)].Put(ctx, key(number), value); err != nil {
					fmt.Fprintln(os.Stderr, "cannot write the keys:", err)
					os.Exit(1)
				}
				cancel()
			}
		}(lane)
	}
	group.Wait()
}

func key(number int64) string { return *prefix + strconv.FormatInt(number, 10) }

func run(store *clientv3.Client, into *tally, random *rand.Rand, value string, fresh *int64, measuring, stopping *int32) {
	into.errors = map[string]int{}
	for atomic.LoadInt32(stopping) == 0 {
		var name string
		switch *distribution {
		case "one-key":
			name = key(0)
		case "fresh":
			name = key(atomic.AddInt64(fresh, 1))
		default:
			name = key(int64(random.Intn(*keys)))
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		var err error
		switch {
		case random.Float64() < *readRatio:
			_, err = store.Get(ctx, name)
		case *operation == "incr":
			err = increment(ctx, store, name)
		default:
			_, err = store.Put(ctx, name, value)
		}
		cancel()
		counted := atomic.LoadInt32(measuring) == 1
		if err != nil {
			if *operation == "incr" {
				into.unknown++
			}
			if counted {
				into.errors[err.Error()]++
			}
			continue
		}
		into.done++
		if counted {
			into.latencies = append(into.latencies, time.Since(began))
		}
	}
}

// increment is what etcd's users write: read, add, write if nobody wrote meanwhile.
func increment(ctx context.Context, store *clientv3.Client, name string) error {
	for {
		found, err := store.Get(ctx, name)
		if err != nil {
			return err
		}
		number, revision := 0, int64(0)
		if len(found.Kvs) > 0 {
			number, _ = strconv.Atoi(string(found.Kvs[0].Value))
			revision = found.Kvs[0].ModRevision
		}
		answer, err := store.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(name), "=", revision)).
			Then(clientv3.OpPut(name, strconv.Itoa(number+1))).
			Commit()
		if err != nil {
			return err
		}
		if answer.Succeeded {
			return nil
		}
	}
}

func report(stores []*clientv3.Client, tallies []tally, seconds, used float64) {
	var latencies []time.Duration
	errors := map[string]int{}
	var done, unknown int64
	for index := range tallies {
		latencies = append(latencies, tallies[index].latencies...)
		for text, count := range tallies[index].errors {
			errors[text] += count
		}
		done += tallies[index].done
		unknown += tallies[index].unknown
	}
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	percentile := func(share float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		index := int(share * float64(len(latencies)))
		if index >= len(latencies) {
			index = len(latencies) - 1
		}
		return float64(latencies[index].Microseconds()) / 1000
	}
	result := map[string]interface{}{
		"ops_per_s":  float64(len(latencies)) / seconds,
		"p50_ms":     percentile(0.5),
		"p90_ms":     percentile(0.9),
		"p99_ms":     percentile(0.99),
		"p999_ms":    percentile(0.999),
		"max_ms":     percentile(1),
		"errors":     errors,
		"operations": len(latencies),
		"cpu_s":      used,
	}
	if *operation == "incr" && *distribution == "one-key" {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		found, err := stores[0].Get(ctx, key(0))
		final := 0
		if err == nil && len(found.Kvs) > 0 {
			final, _ = strconv.Atoi(string(found.Kvs[0].Value))
		}
		result["counter"] = map[string]interface{}{
			"final": final, "acknowledged": done, "unknown": unknown,
			"correct": int64(final) >= done && int64(final) <= done+unknown,
		}
	}
	text, _ := json.Marshal(result)
	fmt.Println(string(text))
}

func cpu() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Sec+usage.Stime.Sec) + float64(usage.Utime.Usec+usage.Stime.Usec)/1e6
}
