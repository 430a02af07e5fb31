package draft

import "math/bits"

// Lookup is a Drafter that needs no model: it looks for the newest ids where
// they came before, in the prompt or in the output, and guesses that what
// followed there follows again (prompt lookup, n-gram drafting). Texts that are
// quoted, edited, summed up or called again by name repeat themselves like that.
//
// It tries its guesses on every id that comes, verified by a step or not, and so
// knows how likely they are without a step being spent on finding out.
type Lookup struct {
	ids    []int32
	long   chains
	short  chains
	source int // place of the id that is guessed to be the next one; 0: none
	length int // ids before it that are those before the next one
	record record
	draft  Draft
}

// Lengths of runs of ids that are looked for.
const (
	longRun   = 4
	shortRun  = 2
	tries     = 16 // places at which a run of that length came before
	mostEqual = 64 // ids that are compared
)

// NewLookup returns a drafter for a sequence that begins with ids. What it
// comes to know of its guesses goes into the experience, which drafters of one
// goroutine share; nil is the same as a new one.
func NewLookup(ids []int32, e *Experience) *Lookup {
	l := &Lookup{long: chains{run: longRun}, short: chains{run: shortRun}, record: record{shared: e}}
	if e == nil {
		l.record.shared = new(Experience)
	}
	for _, id := range ids {
		l.push(id)
	}
	return l
}

// push takes an id without trying a guess on it.
func (l *Lookup) push(id int32) {
	l.ids = append(l.ids, id)
	l.long.add(l.ids)
	l.short.add(l.ids)
}

// Add takes the next ids of the sequence.
func (l *Lookup) Add(ids ...int32) {
	for _, id := range ids {
		l.find()
		right := l.source > 0 && l.ids[l.source] == id
		if l.source > 0 {
			l.record.tried(l.length, right)
		}
		l.push(id)
		if right {
			l.source++
			l.length = min(l.length+1, mostEqual)
		} else {
			l.source = 0
		}
	}
}

// Draft returns what followed where the newest ids came before. Where that
// reaches the newest ids themselves, they go on in circles.
func (l *Lookup) Draft(most int) Draft {
	l.draft = Draft{IDs: l.draft.IDs[:0], Accepted: l.draft.Accepted[:0]}
	if l.find(); l.source == 0 {
		return l.draft
	}
	accepted := float32(1)
	for i := range most {
		at := l.source + i
		id := int32(0)
		if at < len(l.ids) {
			id = l.ids[at]
		} else {
			id = l.draft.IDs[at-len(l.ids)]
		}
		accepted *= l.record.chance(l.length + i)
		l.draft.IDs = append(l.draft.IDs, id)
		l.draft.Accepted = append(l.draft.Accepted, accepted)
	}
	return l.draft
}

// find looks for the place that the newest ids came before, unless there is one
// that has been right so far.
func (l *Lookup) find() {
	if l.source > 0 {
		return
	}
	if l.source, l.length = l.long.find(l.ids); l.source == 0 {
		l.source, l.length = l.short.find(l.ids)
	}
}

// chains finds the places behind runs of a length: of those with one hash the
// newest, and from each the one before it. Where hashes meet, places are looked
// at in vain.
type chains struct {
	run   int
	heads []int32 // [a power of two] by hash, the newest place; 0: none
	older []int32 // by place, the one before it
}

// add notes the place of the newest id: what follows a run is known with it.
func (c *chains) add(ids []int32) {
	c.older = append(c.older, 0)
	if len(ids) > len(c.heads) {
		c.heads = make([]int32, max(64, 2*len(c.heads)))
		for place := range ids {
			c.note(ids, place)
		}
		return
	}
	c.note(ids, len(ids)-1)
}

// note puts a place at the head of its chain.
func (c *chains) note(ids []int32, place int) {
	if place < c.run {
		return
	}
	h := c.hash(ids[place-c.run : place])
	c.older[place] = c.heads[h]
	c.heads[h] = int32(place)
}

func (c *chains) hash(run []int32) uint32 {
	h := uint64(0)
	for _, id := range run {
		h = (h ^ uint64(uint32(id))) * 0x9E3779B97F4A7C15
		h ^= h >> 29
	}
	return uint32(h>>32) & uint32(len(c.heads)-1)
}

// find returns the place that has most ids before it in common with the end of
// ids, the newest of several, and how many these are. It is 0 if a run of them
// did not come before.
func (c *chains) find(ids []int32) (place, length int) {
	if len(ids) < c.run {
		return 0, 0
	}
	at := c.heads[c.hash(ids[len(ids)-c.run:])]
	for try := 0; at > 0 && try < tries; try++ {
		if n := equal(ids, int(at)); n >= c.run && n > length {
			place, length = int(at), n
		}
		at = c.older[at]
	}
	return place, length
}

// equal returns how many ids before a place are those at the end of ids.
func equal(ids []int32, place int) int {
	n := 0
	for n < min(place, mostEqual) && ids[place-1-n] == ids[len(ids)-1-n] {
		n++
	}
	return n
}

// Experience is what several drafters have come to know.
type Experience struct{ tally [classes]tally }

// classes of lengths: 2, 3, 4 to 7, 8 to 15, …
const classes = 7

func classOf(length int) int {
	if length < 4 {
		return max(length, shortRun) - shortRun
	}
	return min(bits.Len(uint(length))-1, classes-1)
}

// tally counts guesses, those of long ago less.
type tally struct{ right, all float32 }

// add counts a guess; memory is about how many are remembered.
func (t *tally) add(right bool, memory float32) {
	t.right *= 1 - 1/memory
	t.all *= 1 - 1/memory
	if t.all++; right {
		t.right++
	}
}

// with returns the share of right guesses, given one to begin with that counts
// as weight of them.
func (t *tally) with(share, weight float32) float32 {
	return (t.right + share*weight) / (t.all + weight)
}

// record is what one drafter knows of its guesses, by class.
type record struct {
	own    Experience
	shared *Experience
}

// Before anything is known: the shares of right guesses in quotations, as low
// as is reasonable, for what is not tried costs nothing.
var prior = [classes]float32{0.1, 0.2, 0.4, 0.6, 0.75, 0.85, 0.9}

const (
	ownMemory, ownWeight       = 24, 3
	sharedMemory, sharedWeight = 400, 8
)

func (r *record) tried(length int, right bool) {
	c := classOf(length)
	r.own.tally[c].add(right, ownMemory)
	r.shared.tally[c].add(right, sharedMemory)
}

// chance returns how likely an id is right that comes after so many that agree.
func (r *record) chance(length int) float32 {
	c := classOf(length)
	return r.own.tally[c].with(r.shared.tally[c].with(prior[c], sharedWeight), ownWeight)
}
