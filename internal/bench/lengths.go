package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
)

// mostTokens bounds a length.
const mostTokens = 1 << 27

// Lengths is a distribution of numbers of tokens. The zero value is none.
type Lengths struct {
	text string
	draw func(rng *rand.Rand, i int) int // the i-th length
}

// ParseLengths reads a distribution:
//
//	512                 always that
//	100-900             uniform, both ends included
//	normal:512,128      normal with a mean and a standard deviation, rounded;
//	                    what is below 1 is drawn again
//	FILE                the numbers in a file, in order, and again from its start
func ParseLengths(text string) (Lengths, error) {
	l := Lengths{text: text}
	var err error
	if n, failed := strconv.Atoi(text); failed == nil {
		l.draw, err = uniform(n, n)
		return l, err
	}
	low, high, ranged := strings.Cut(text, "-")
	a, notLow := strconv.Atoi(low)
	b, notHigh := strconv.Atoi(high)
	parameters, bell := strings.CutPrefix(text, "normal:")
	switch {
	case ranged && notLow == nil && notHigh == nil:
		l.draw, err = uniform(a, b)
	case bell:
		l.draw, err = normal(parameters)
	default:
		l.draw, err = listed(text)
	}
	return l, err
}

// String returns the text that was read.
func (l Lengths) String() string { return l.text }

// Draw returns n lengths. They follow from the seed and the number of a stream;
// fewer are the beginning of more.
func (l Lengths) Draw(seed, stream uint64, n int) []int {
	rng := rand.New(rand.NewPCG(seed, stream))
	out := make([]int, n)
	for i := range out {
		out[i] = l.draw(rng, i)
	}
	return out
}

func uniform(low, high int) (func(*rand.Rand, int) int, error) {
	switch {
	case low < 1 || high > mostTokens:
		return nil, fmt.Errorf("got %d to %d tokens, want 1 to %d", low, high, mostTokens)
	case low > high:
		return nil, fmt.Errorf("got %d-%d, want the smaller number first", low, high)
	}
	return func(rng *rand.Rand, _ int) int { return low + rng.IntN(high-low+1) }, nil
}

func normal(parameters string) (func(*rand.Rand, int) int, error) {
	first, second, _ := strings.Cut(parameters, ",")
	mean, err := strconv.ParseFloat(first, 64)
	deviation, err2 := strconv.ParseFloat(second, 64)
	switch {
	case err != nil || err2 != nil:
		return nil, fmt.Errorf("got normal:%s, want normal:MEAN,DEVIATION", parameters)
	case !(mean >= 1 && mean <= mostTokens):
		return nil, fmt.Errorf("got a mean of %g, want 1 to %d", mean, mostTokens)
	case !(deviation >= 0 && deviation <= mostTokens):
		return nil, fmt.Errorf("got a standard deviation of %g, want 0 to %d", deviation, mostTokens)
	}
	return func(rng *rand.Rand, _ int) int {
		for {
			if v := math.Round(mean + deviation*rng.NormFloat64()); v >= 1 && v <= mostTokens {
				return int(v)
			}
		}
	}, nil
}

// listed takes lengths from a file, separated by white space.
func listed(name string) (func(*rand.Rand, int) int, error) {
	info, err := os.Stat(name)
	if err != nil || info.IsDir() {
		return nil, fmt.Errorf("got %q, want a number, a range such as 100-900, normal:MEAN,DEVIATION or a file of lengths", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var lengths []int
	line := 0
	for text := range strings.Lines(string(data)) {
		line++
		for _, word := range strings.Fields(text) {
			n, err := strconv.Atoi(word)
			if err != nil || n < 1 || n > mostTokens {
				return nil, fmt.Errorf("%s: line %d: got %q, want a number of tokens from 1 to %d", name, line, word, mostTokens)
			}
			lengths = append(lengths, n)
		}
	}
	if len(lengths) == 0 {
		return nil, fmt.Errorf("%s: there is no length in it", name)
	}
	return func(_ *rand.Rand, i int) int { return lengths[i%len(lengths)] }, nil
}
