package draft

// Policy decides how much of the drafts is verified, from what steps take by
// measurement and how likely the drafts are by experience: as much as brings
// tokens fastest. Verifying costs little where a step waits for the weights, and
// much where it computes for many sequences, or where each token has experts of
// its own; the measurements tell.
//
// Whatever they tell, drafts must not cost more than they have brought and a
// small share of the time: Policy keeps an account. It counts steps as what those
// of their size usually take, so that a machine with much else to do does not
// make drafts look dear by chance.
//
// The zero value is ready to use.
type Policy struct {
	// Recurrent says that what a wrong draft leads to is computed again.
	Recurrent bool

	plain    timings // of steps with a token of each sequence, by sequences
	waited   timings // of those among them that waited for a draft in vain
	verified timings // of other steps without prompts, by tokens
	account  float64 // what drafts have brought, in plain steps
	lengths  []int
}

// The account, in plain steps: each brings the share that drafts may cost at most
// in the long run, up to so much.
const (
	share  = 0.01
	saving = 8
)

// gain is how much faster tokens must be expected to come for a draft to be
// verified.
const gain = 1.03

// Step is what is measured: a step without prompts.
type Step struct {
	Sequences int     // that got tokens
	Tokens    int     // computed
	Got       int     // new tokens
	Waited    bool    // it could have begun earlier if no draft had been hoped for
	Seconds   float64 // since the step before it
}

// Measured takes a step into account.
func (p *Policy) Measured(s Step) {
	p.plain.clock++
	p.waited.clock++
	p.verified.clock++
	plain, took := p.plain.at(s.Sequences), 0.0
	switch {
	case s.Tokens > s.Sequences:
		p.verified.add(s.Tokens, s.Seconds)
		took = p.verified.from(s.Sequences, plain, s.Tokens)
	case s.Waited:
		p.waited.add(s.Sequences, s.Seconds)
		took = min(p.waited.at(s.Sequences), 2*plain)
	default:
		p.plain.add(s.Sequences, s.Seconds)
		p.account = min(p.account+share, saving)
		return
	}
	if plain > 0 {
		p.account = min(p.account+float64(s.Got)/float64(s.Sequences)-took/plain, saving)
	}
}

// Hopeful reports whether a draft of one of so many sequences would be worth
// verifying.
func (p *Policy) Hopeful(sequences int, d Draft) bool {
	return p.Choose(sequences, sequences, []Draft{d})[0] > 0
}

// caps are the lengths that drafts are cut to: few, so that steps of one size come
// again and are measured.
var caps = [...]int{1, 2, 3, 5, 7, 11, Longest}

// Longest is the most ids of a draft that are verified at once.
const Longest = 15

// chances are the likelihoods below which ids are not verified.
var chances = [...]float32{0.9, 0.75, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05}

// Choose returns how many ids of each draft to verify in a step that has so many
// tokens without them, and sequences that get tokens. The result is valid until
// the next call.
func (p *Policy) Choose(sequences, tokens int, drafts []Draft) []int {
	p.lengths = append(p.lengths[:0], make([]int, len(drafts))...)
	plain := p.plain.at(sequences)
	if plain == 0 || p.account < 0 {
		return p.lengths
	}
	base := plain
	if tokens > sequences {
		base = p.verified.from(sequences, plain, tokens)
	}
	best, bestCap, bestChance := gain*float64(sequences)/base, 0, float32(0)
	for _, longest := range caps {
		for _, chance := range chances {
			n, got, again := p.expect(sequences, plain, drafts, longest, chance)
			if n == 0 {
				continue
			}
			if rate := (float64(sequences) + got) / (p.verified.from(sequences, plain, tokens+n) + again); rate > best {
				best, bestCap, bestChance = rate, longest, chance
			}
		}
	}
	for i, d := range drafts {
		p.lengths[i] = d.reach(bestCap, bestChance)
	}
	return p.lengths
}

// expect adds up drafts of a length and likelihood: their ids, those that will
// be accepted, and the time that it will take to compute again, with the next
// token, what was accepted of drafts that are not right to their ends.
func (p *Policy) expect(sequences int, plain float64, drafts []Draft, longest int, chance float32) (ids int, accepted, again float64) {
	for _, d := range drafts {
		n := d.reach(longest, chance)
		if n == 0 {
			continue
		}
		ids += n
		for _, a := range d.Accepted[:n] {
			accepted += float64(a)
		}
		if p.Recurrent {
			wrong := 1 - float64(d.Accepted[n-1])
			again += wrong * (p.verified.from(sequences, plain, sequences+1+n/2) - plain)
		}
	}
	return ids, accepted, again
}

// reach returns the largest of the caps up to longest to which a draft is as
// likely as that.
func (d Draft) reach(longest int, chance float32) int {
	for i := len(caps) - 1; i >= 0; i-- {
		if n := caps[i]; n <= longest && n <= len(d.Accepted) && d.Accepted[n-1] >= chance {
			return n
		}
	}
	return 0
}
