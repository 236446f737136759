// A load generator for etcd, ZooKeeper and Redis with their own Go clients, which measures what `paxoskv bench` measures.
//
// Each client is a goroutine with one operation outstanding. It prints one JSON object with the keys of
// `paxoskv bench --json`. A client whose operation fails goes to the next node, as paxoskv's clients do.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	system       = flag.String("system", "etcd", "etcd, zookeeper or redis")
	endpoints    = flag.String("endpoints", "127.0.0.1:2379", "client addresses, separated by commas")
	clients      = flag.Int("clients", 256, "each has one operation outstanding; not with --rate")
	duration     = flag.Float64("duration", 5, "seconds to measure")
	warmup       = flag.Float64("warmup", 0, "seconds of load before that")
	timeout      = flag.Float64("timeout", 5, "seconds after which an operation is given up")
	keys         = flag.Int("keys", 10000, "number of keys")
	valueSize    = flag.Int("value-size", 64, "bytes")
	readRatio    = flag.Float64("read-ratio", 0, "share of linearizable reads, or scans")
	operation    = flag.String("op", "put", "put, incr or rmw; scan: scans in place of reads, and inserts of new keys")
	scanLength   = flag.Int("scan-length", 100, "with --op scan, each wants from 1 to so many keys")
	distribution = flag.String("distribution", "uniform", "uniform, zipf, latest, one-key or sequential")
	rate         = flag.Float64("rate", 0, "operations a second, sent when they are due; 0: closed loops")
	noLoad       = flag.Bool("no-load", false, "do not write every key once before measuring")
	prefix       = flag.String("prefix", "bench/", "of the keys")
	timeline     = flag.Bool("timeline", false, "count what happened in every 10 ms, and each client's longest gap")
)

const (
	// gRPC and ZooKeeper connections for each node; a few shared ones are quicker than one a client.
	connections = 4
	fillers     = 256
	inFlightMax = 100000
	binSeconds  = 0.01
	// How long an open loop avoids a node that did not answer.
	avoidance = time.Second
)

// A store is one connection to one node.
type store interface {
	get(ctx context.Context, key string) error
	put(ctx context.Context, key, value string) error
	// increment and modify read a key and write it if nobody wrote meanwhile, again until it succeeds, where the
	// system has nothing better.
	increment(ctx context.Context, key string) error
	modify(ctx context.Context, key, value string) error
	number(ctx context.Context, key string) (int, error)
}

// A scanner is a store that has its keys in order.
type scanner interface {
	// scan reads so many keys and their values, in order from one key on, and no further than the prefix goes. It
	// answers how many there were.
	scan(ctx context.Context, from string, limit int) (int, error)
}

// unordered says why other stores are none.
var unordered = map[string]string{
	"zookeeper": "getChildren lists all names under a node, in no order",
	"redis":     "SCAN has no order of keys",
}

// A node is one endpoint and the connections to it.
type node struct {
	stores       []store
	avoidedUntil int64
}

// A tally is what one client measured.
type tally struct {
	latencies []time.Duration
	errors    map[string]int
	done      int64
	unknown   int64
	last      time.Time
	gap       time.Duration
}

type load struct {
	nodes     []*node
	value     string
	draw      drawing
	began     time.Time
	measuring int32
	stopping  int32
	succeeded []int64
	failed    []int64
	scans     int64
	scanned   int64
}

func main() {
	flag.Parse()
	if refusal := refuse(); refusal != "" {
		fmt.Fprintln(os.Stderr, refusal)
		os.Exit(2)
	}
	this := &load{nodes: dial(), value: strings.Repeat("v", *valueSize)}
	if !*noLoad && *distribution != "one-key" {
		this.fill()
	}
	this.draw = newDrawing()
	bins := int((*duration+*timeout+1)/binSeconds) + 1
	this.succeeded, this.failed = make([]int64, bins), make([]int64, bins)
	var tallies []*tally
	var group sync.WaitGroup
	if *rate > 0 {
		tallies = []*tally{this.openLoop(&group)}
	} else {
		tallies = this.closedLoops(&group)
	}
	time.Sleep(seconds(*warmup))
	used := cpu()
	this.began = time.Now()
	for _, one := range tallies {
		one.last = this.began
	}
	atomic.StoreInt32(&this.measuring, 1)
	fmt.Fprintln(os.Stderr, "measuring")
	time.Sleep(seconds(*duration))
	atomic.StoreInt32(&this.measuring, 0)
	ended := time.Now()
	used = cpu() - used
	atomic.StoreInt32(&this.stopping, 1)
	group.Wait()
	this.report(tallies, ended, used)
}

// refuse says why what is asked for cannot be done, and nothing if it can.
func refuse() string {
	if *operation != "scan" {
		return ""
	}
	if why := unordered[*system]; why != "" {
		return fmt.Sprintf("%s cannot be scanned in the order of its keys: %s", *system, why)
	}
	if *readRatio <= 0 || *scanLength < 1 || *distribution == "one-key" {
		return "--op scan takes a --read-ratio above 0, which is the share of scans, a --scan-length of 1 or above, and many keys"
	}
	return ""
}

func seconds(number float64) time.Duration { return time.Duration(number * float64(time.Second)) }

func dial() []*node {
	open := map[string]func(string) (store, error){"etcd": openEtcd, "zookeeper": openZooKeeper, "redis": openRedis}[*system]
	var nodes []*node
	for _, address := range strings.Split(*endpoints, ",") {
		one := &node{}
		for len(one.stores) < connections && len(one.stores) < *clients {
			opened, err := open(address)
			if err != nil {
				fmt.Fprintln(os.Stderr, "cannot connect:", err)
				os.Exit(1)
			}
			one.stores = append(one.stores, opened)
		}
		nodes = append(nodes, one)
	}
	return nodes
}

func (this *load) store(place, lane int) store {
	stores := this.nodes[place%len(this.nodes)].stores
	return stores[lane/len(this.nodes)%len(stores)]
}

func (this *load) fill() {
	var next int64 = -1
	var group sync.WaitGroup
	for lane := 0; lane < fillers; lane++ {
		group.Add(1)
		go func(lane int) {
			defer group.Done()
			for {
				number := atomic.AddInt64(&next, 1)
				if number >= int64(*keys) {
					return
				}
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				if err := this.store(lane, lane).put(ctx, key(number), this.value); err != nil {
					fmt.Fprintln(os.Stderr, "cannot write the keys:", err)
					os.Exit(1)
				}
				cancel()
			}
		}(lane)
	}
	group.Wait()
}

func (this *load) closedLoops(group *sync.WaitGroup) []*tally {
	tallies := make([]*tally, *clients)
	for lane := range tallies {
		into := &tally{errors: map[string]int{}}
		tallies[lane] = into
		group.Add(1)
		go func(lane int) {
			defer group.Done()
			random := rand.New(rand.NewSource(int64(lane)))
			place := lane
			for atomic.LoadInt32(&this.stopping) == 0 {
				began := time.Now()
				err := this.perform(this.store(place, lane), random)
				this.count(into, began, err)
				if err != nil {
					place++
					time.Sleep(5 * time.Millisecond)
				}
			}
		}(lane)
	}
	return tallies
}

// openLoop sends operations when they are due, whether earlier ones were answered or not. Latency counts from when an
// operation was due, so that a stall costs every operation that should have been sent meanwhile.
func (this *load) openLoop(group *sync.WaitGroup) *tally {
	into := &tally{errors: map[string]int{}}
	var lock sync.Mutex
	var inFlight int64
	group.Add(1)
	go func() {
		defer group.Done()
		started := time.Now()
		sent := 0
		for atomic.LoadInt32(&this.stopping) == 0 {
			due := int(time.Since(started).Seconds() * *rate)
			for ; sent < due; sent++ {
				if atomic.LoadInt64(&inFlight) >= inFlightMax {
					lock.Lock()
					into.errors["not-sent"]++
					lock.Unlock()
					continue
				}
				atomic.AddInt64(&inFlight, 1)
				group.Add(1)
				go func(number int) {
					defer group.Done()
					defer atomic.AddInt64(&inFlight, -1)
					place := this.available(number)
					err := this.perform(this.store(place, number), rand.New(rand.NewSource(int64(number))))
					if err != nil {
						until := time.Now().Add(avoidance).UnixNano()
						atomic.StoreInt64(&this.nodes[place%len(this.nodes)].avoidedUntil, until)
					}
					lock.Lock()
					defer lock.Unlock()
					// The first one is due after one interval, and not at once: so many are due by now.
					this.count(into, started.Add(seconds(float64(number+1) / *rate)), err)
				}(sent)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	return into
}

func (this *load) available(place int) int {
	now := time.Now().UnixNano()
	for range this.nodes {
		if atomic.LoadInt64(&this.nodes[place%len(this.nodes)].avoidedUntil) < now {
			break
		}
		place++
	}
	return place
}

func (this *load) perform(on store, random *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), seconds(*timeout))
	defer cancel()
	switch {
	case random.Float64() < *readRatio:
		if *operation == "scan" {
			return this.scan(ctx, on.(scanner), random)
		}
		return on.get(ctx, this.draw.existing(random))
	case *distribution == "latest" || *operation == "scan":
		return on.put(ctx, this.draw.fresh(), this.value)
	case *operation == "incr":
		return on.increment(ctx, this.draw.existing(random))
	case *operation == "rmw":
		return on.modify(ctx, this.draw.existing(random), this.value)
	}
	return on.put(ctx, this.draw.existing(random), this.value)
}

func (this *load) scan(ctx context.Context, on scanner, random *rand.Rand) error {
	found, err := on.scan(ctx, this.draw.existing(random), 1+random.Intn(*scanLength))
	if err == nil && atomic.LoadInt32(&this.measuring) == 1 {
		atomic.AddInt64(&this.scans, 1)
		atomic.AddInt64(&this.scanned, int64(found))
	}
	return err
}

func (this *load) count(into *tally, began time.Time, err error) {
	now := time.Now()
	if err == nil {
		into.done++
	} else {
		into.unknown++
	}
	if atomic.LoadInt32(&this.measuring) == 0 {
		return
	}
	bin := int(now.Sub(this.began).Seconds() / binSeconds)
	if err != nil {
		into.errors[reason(err)]++
		atomic.AddInt64(&this.failed[bin], 1)
		return
	}
	atomic.AddInt64(&this.succeeded[bin], 1)
	into.latencies = append(into.latencies, now.Sub(began))
	if gap := now.Sub(into.last); gap > into.gap {
		into.gap = gap
	}
	into.last = now
}

// reason is an error without what differs between two of its kind.
func reason(err error) string {
	text := err.Error()
	if len(text) > 60 {
		text = text[:60]
	}
	return text
}

func (this *load) report(tallies []*tally, ended time.Time, used float64) {
	var latencies []time.Duration
	errors := map[string]int{}
	var done, unknown int64
	gaps := []float64{}
	longest := time.Duration(0)
	for _, one := range tallies {
		latencies = append(latencies, one.latencies...)
		for text, count := range one.errors {
			errors[text] += count
		}
		done += one.done
		unknown += one.unknown
		// A client that waits still has waited so long already.
		if gap := ended.Sub(one.last); gap > one.gap {
			one.gap = gap
		}
		if one.gap > longest {
			longest = one.gap
		}
		gaps = append(gaps, milliseconds(one.gap))
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
		return milliseconds(latencies[index])
	}
	elapsed := ended.Sub(this.began).Seconds()
	result := map[string]interface{}{
		"ops_per_s":      float64(len(latencies)) / elapsed,
		"p50_ms":         percentile(0.5),
		"p90_ms":         percentile(0.9),
		"p99_ms":         percentile(0.99),
		"p999_ms":        percentile(0.999),
		"max_ms":         percentile(1),
		"errors":         errors,
		"operations":     len(latencies),
		"duration_s":     elapsed,
		"longest_gap_ms": milliseconds(longest),
		"load_cpu_s":     used,
	}
	if this.scans > 0 {
		result["keys_per_scan"] = float64(this.scanned) / float64(this.scans)
	}
	if *timeline {
		result["began_unix"] = float64(this.began.UnixNano()) / 1e9
		result["timeline"] = map[string]interface{}{"bin_ms": binSeconds * 1000, "ok": trimmed(this.succeeded), "errors": trimmed(this.failed)}
		if *rate == 0 {
			result["gaps_ms"] = gaps
		}
	}
	if *operation == "incr" && *distribution == "one-key" {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		final, err := this.store(0, 0).number(ctx, key(0))
		result["counter"] = map[string]interface{}{
			"final": final, "acknowledged": done, "unknown": unknown,
			"correct": err == nil && int64(final) >= done && int64(final) <= done+unknown,
		}
	}
	text, _ := json.Marshal(result)
	fmt.Println(string(text))
}

func milliseconds(duration time.Duration) float64 { return float64(duration.Microseconds()) / 1000 }

func trimmed(bins []int64) []int64 {
	end := len(bins)
	for end > 0 && bins[end-1] == 0 {
		end--
	}
	return bins[:end]
}

func cpu() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Sec+usage.Stime.Sec) + float64(usage.Utime.Usec+usage.Stime.Usec)/1e6
}
