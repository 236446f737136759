package main

import (
	"math"
	"math/rand"
	"sort"
	"strconv"
	"sync/atomic"
)

// zipfTheta is YCSB's constant.
const zipfTheta = 0.99

func key(number int64) string { return *prefix + strconv.FormatInt(number, 10) }

// A drawing chooses keys.
type drawing struct {
	weights []float64
	order   []int
	// The number of the next new key, and of the next one in sequence.
	next *int64
	turn *int64
}

func newDrawing() drawing {
	next, turn := int64(*keys), int64(0)
	drawing := drawing{next: &next, turn: &turn}
	if *distribution == "zipf" || *distribution == "latest" {
		total := 0.0
		for rank := 1; rank <= *keys; rank++ {
			total += 1 / math.Pow(float64(rank), zipfTheta)
			drawing.weights = append(drawing.weights, total)
		}
		// The favourites are anywhere among the keys, as YCSB has them.
		drawing.order = rand.New(rand.NewSource(0x5EED)).Perm(*keys)
	}
	return drawing
}

func (this drawing) rank(random *rand.Rand) int {
	return sort.SearchFloat64s(this.weights, random.Float64()*this.weights[len(this.weights)-1])
}

// existing draws a key that was written, or soon will be.
func (this drawing) existing(random *rand.Rand) string {
	switch *distribution {
	case "one-key":
		return key(0)
	case "zipf":
		return key(int64(this.order[this.rank(random)]))
	case "latest":
		return key(atomic.LoadInt64(this.next) - 1 - int64(this.rank(random)))
	case "sequential":
		return key((atomic.AddInt64(this.turn, 1) - 1) % int64(*keys))
	}
	return key(int64(random.Intn(*keys)))
}

// fresh is a key that nobody wrote.
func (this drawing) fresh() string { return key(atomic.AddInt64(this.next, 1) - 1) }
