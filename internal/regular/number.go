package regular

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// Bound limits numbers on one side. The zero value is no bound.
type Bound struct {
	At        *big.Rat // nil: none; a finite decimal
	Exclusive bool
}

// maxDigits is the most digits that a bound or a divisor may have.
const maxDigits = 400

// Integers returns the automaton of the integers within two bounds, written
// without fraction, exponent and needless zeros; "-0" is not among them.
func Integers(low, high Bound) (*DFA, error) {
	d, err := Decimals(low, high)
	if err != nil {
		return nil, err
	}
	whole, err := Whole(`0|-?[1-9][0-9]*`, Plain)
	if err != nil {
		return nil, err
	}
	return Intersect(d, whole)
}

// Decimals returns the automaton of the numbers within two bounds, written as
// JSON has it but without an exponent.
func Decimals(low, high Bound) (*DFA, error) {
	all, err := Whole(`-?(0|[1-9][0-9]*)(\.[0-9]+)?`, Plain)
	if err != nil {
		return nil, err
	}
	for _, side := range []struct {
		bound Bound
		above bool
	}{{low, true}, {high, false}} {
		if side.bound.At == nil {
			continue
		}
		d, err := half(side.bound, side.above)
		if err != nil {
			return nil, err
		}
		if all, err = Intersect(all, d); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// half returns the decimals on one side of a bound. Those of the other sign
// are all in or all out; "-0" counts as 0.
func half(b Bound, above bool) (*DFA, error) {
	digits, err := decimal(b.At)
	if err != nil {
		return nil, err
	}
	n := &nfa{}
	match := n.add()
	var positive, negative int32
	zeroIn := b.At.Sign() == 0 && !b.Exclusive
	switch negativeBound := b.At.Sign() < 0; {
	case above && negativeBound: // x ≥ -d: all positive ones, and -y with y ≤ d
		positive, negative = n.anyDecimal(match), n.compare(digits, false, !b.Exclusive, match)
	case above: // x ≥ d
		positive, negative = n.compare(digits, true, !b.Exclusive, match), n.zeroIf(zeroIn, match)
	case negativeBound: // x ≤ -d: -y with y ≥ d
		positive, negative = n.add(), n.compare(digits, true, !b.Exclusive, match)
	default: // x ≤ d
		positive, negative = n.compare(digits, false, !b.Exclusive, match), n.anyDecimal(match)
		if b.At.Sign() == 0 && b.Exclusive {
			negative = n.compare(digits, true, false, match)
		}
	}
	return n.determinize(n.add(positive, n.edge('-', '-', negative)), match)
}

// decimal returns the digits of |r| before and after the point, without zeros
// at the ends.
func decimal(r *big.Rat) (text [2]string, err error) {
	places, exact := r.FloatPrec()
	if !exact || places > maxDigits || r.Num().BitLen() > 4*maxDigits {
		return text, fmt.Errorf("bound %s has no short decimal form", r.RatString()[:min(40, len(r.RatString()))])
	}
	s := new(big.Rat).Abs(r).FloatString(places)
	text[0], text[1], _ = strings.Cut(s, ".")
	text[1] = strings.TrimRight(text[1], "0")
	return text, nil
}

func (n *nfa) digits(next int32) int32 {
	return n.loop(next, func(back int32) int32 { return n.edge('0', '9', back) })
}

// fraction returns a state from which any fraction, or none, leads on.
func (n *nfa) fraction(next int32) int32 {
	return n.add(next, n.edge('.', '.', n.edge('0', '9', n.digits(next))))
}

// anyDecimal accepts more than JSON does; the caller intersects.
func (n *nfa) anyDecimal(next int32) int32 { return n.digits(n.fraction(next)) }

// zeroIf returns a state from which zeros lead on, or nothing does.
func (n *nfa) zeroIf(in bool, next int32) int32 {
	if !in {
		return n.add()
	}
	return n.edge('0', '0', n.zeros(next))
}

// zeros returns a state from which a fraction of zeros, or none, leads on.
func (n *nfa) zeros(next int32) int32 {
	more := n.loop(next, func(back int32) int32 { return n.edge('0', '0', back) })
	return n.add(next, n.edge('.', '.', n.edge('0', '0', more)))
}

// compare returns a state from which the decimals above or below a bound lead
// on, and with equal the bound itself.
func (n *nfa) compare(bound [2]string, above, equal bool, next int32) int32 {
	at := n.compareFraction(bound[1], above, equal, next)
	beyond := n.fraction(next)
	whole := bound[0]
	starts := []int32{}
	run := beyond // any digits, as many as are left
	for i := len(whole) - 1; i >= 0; i-- {
		at = n.add(n.edge(whole[i], whole[i], at))
		lo, hi := byte('0'), whole[i]-1
		if above {
			lo, hi = whole[i]+1, '9'
		}
		if lo <= hi {
			n.states[at].free = append(n.states[at].free, n.edge(lo, hi, run))
		}
		if run = n.edge('0', '9', run); !above && i > 0 { // shorter numbers are below
			starts = append(starts, run)
		}
	}
	if above { // longer numbers are above
		longer := n.digits(beyond)
		for range len(whole) + 1 {
			longer = n.edge('0', '9', longer)
		}
		starts = append(starts, longer)
	}
	return n.add(append(starts, at)...)
}

// compareFraction compares what follows equal whole parts.
func (n *nfa) compareFraction(digits string, above, equal bool, next int32) int32 {
	rest := n.digits(next)
	var at int32 // after all digits of the bound
	switch {
	case above && equal:
		at = rest
	case above:
		at = n.loop(n.edge('1', '9', rest), func(back int32) int32 { return n.edge('0', '0', back) })
	case equal:
		at = n.loop(next, func(back int32) int32 { return n.edge('0', '0', back) })
	default:
		at = n.add()
	}
	for i := len(digits) - 1; i >= 0; i-- {
		at = n.add(n.edge(digits[i], digits[i], at))
		lo, hi := byte('0'), digits[i]-1
		if above {
			lo, hi = digits[i]+1, '9'
		} else { // it ends here, below the bound
			n.states[at].free = append(n.states[at].free, next)
		}
		if lo <= hi {
			n.states[at].free = append(n.states[at].free, n.edge(lo, hi, rest))
		}
	}
	point := n.edge('.', '.', at)
	if ends := (digits == "" && equal) || (digits != "" && !above); ends {
		return n.add(point, next)
	}
	return point
}

// maxDivisor is the largest divisor whose multiples have an automaton.
const maxDivisor = 5000

// Multiples returns the automaton of the multiples of a decimal, written
// without an exponent and with no more places than the divisor has.
func Multiples(of *big.Rat) (*DFA, error) {
	places, exact := of.FloatPrec()
	if !exact || of.Sign() <= 0 || places > 20 {
		return nil, fmt.Errorf("divisor %s is not a short positive decimal", of.RatString())
	}
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)
	scaled := new(big.Rat).Mul(of, new(big.Rat).SetInt(power)).Num()
	if !scaled.IsInt64() || scaled.Int64()*int64(places+1) > maxDivisor {
		return nil, fmt.Errorf("%w: the multiples of %s need more than %d states", ErrTooLarge, of.RatString(), maxDivisor)
	}
	d := multiples(scaled.Int64(), places)
	form, err := Whole(`-?(0|[1-9][0-9]*)(\.[0-9]+)?`, Plain)
	if err != nil {
		return nil, err
	}
	return Intersect(d.minimize(), form)
}

// multiples divides while it reads: its states are the number of places so
// far and the remainder. The places that are not there yet count as zeros.
func multiples(m int64, places int) *DFA {
	d := &division{m: m, places: places, missing: make([]int64, places+1)}
	for p, f := places, int64(1); p >= 0; p-- {
		d.missing[p], f = f%m, f%m*10
	}
	out := &DFA{width: 13}
	for c := range out.class {
		out.class[c] = 12
	}
	for i, c := range []byte("0123456789.-") {
		out.class[c] = uint8(i)
	}
	for s := range 2 * int64(places+1) * m {
		point, place, rest := s >= int64(places+1)*m, int(s/m)%(places+1), s%m
		out.accept = append(out.accept, !point && rest*d.missing[place]%m == 0)
		out.next = append(out.next, d.ways(point, place, rest)...)
	}
	return out
}

// division is the remainder by m of a number with some places, scaled to an
// integer.
type division struct {
	m       int64
	places  int
	missing []int64 // what a number with so few places is multiplied by
}

// state numbers the states; those right after the point, which may not end a
// number, are the second half.
func (d *division) state(point bool, place int, rest int64) int32 {
	s := int64(place)*d.m + rest
	if point {
		s += int64(d.places+1) * d.m
	}
	return int32(s)
}

// ways returns where the digits, the point, the sign and all else lead.
func (d *division) ways(point bool, place int, rest int64) []int32 {
	row := slices.Repeat([]int32{-1}, 13)
	next := place
	if point || place > 0 {
		next++
	}
	for digit := range int64(10) {
		if next <= d.places {
			row[digit] = d.state(false, next, (rest*10+digit)%d.m)
		}
	}
	if place == 0 && !point {
		row[11] = 0 // the sign; the caller sees to it that it comes first
		if d.places > 0 {
			row[10] = d.state(true, 0, rest)
		}
	}
	return row
}

// Numbers returns the automaton of JSON's numbers. An exponent has at most two
// digits, so that every number can be read as a float64.
func Numbers() (*DFA, error) {
	return Whole(`-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?`, Plain)
}
