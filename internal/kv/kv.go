// Package kv decides which pages of the key/value cache and which rows of
// recurrent state belong to whom: the pages of running sequences, and what is
// kept of sequences that have ended, so that a later one with the same
// beginning starts behind it.
//
// It counts; it holds no tensors, knows no device and takes no locks: the
// scheduler is its only caller. What a device has to copy comes out as a list
// of moves.
package kv

// Config says how much there is to hand out.
type Config struct {
	Pages, PageSize int
	Slots           int  // rows of recurrent state for running sequences
	Recurrent       bool // sequences have a recurrent state: starting behind a prefix takes a snapshot
	Prefixes        bool // keep what was computed for sequences with the same beginning
	Snapshots       int  // rows of recurrent state for snapshots, behind those of the slots
	HostSnapshots   int  // rows in host memory
	Spares          int  // rows behind those, for copies of states while drafts are verified
	Least           int  // fewest tokens that are worth starting behind; 0 means PageSize
}

// Move is a copy that a device has to make, in the order of the list and
// before the step that the list comes with.
type Move struct {
	Kind     MoveKind
	From, To int32
}

// MoveKind says what From and To are.
type MoveKind uint8

// The kinds of moves.
const (
	CopyPage  MoveKind = iota // pages, in all attention layers
	CopyState                 // rows of state: slots and snapshots
	SaveState                 // a row of state to a row in host memory
	LoadState                 // a row in host memory to a row of state
)

func (k MoveKind) String() string {
	return [...]string{"copy page", "copy state", "save state", "load state"}[k]
}

// Sequence is what one running sequence holds.
type Sequence struct {
	Slot  int32
	Pages []int32 // of its positions, in order

	spare   int32 // row with a copy of its state
	guarded bool  // there is one

	last *node // the last full page that the tree knows; the root if there is none
}

// Cache hands out pages and slots, and finds what was computed before.
type Cache struct {
	Config
	pages     pool
	slots     []int32 // free ones
	spares    []int32
	tree      tree
	snapshots snapshots
	moves     []Move
	path      []*node // of the lookup under way
	lookups   Lookups
}

// New returns a cache in which everything is free.
func New(c Config) *Cache {
	if c.Least == 0 {
		c.Least = c.PageSize
	}
	if !c.Recurrent || !c.Prefixes {
		c.Snapshots, c.HostSnapshots = 0, 0
	}
	if !c.Recurrent {
		c.Spares = 0
	}
	k := &Cache{Config: c, pages: newPool(c.Pages), slots: numbers(0, c.Slots)}
	k.tree = newTree(min(4*c.Pages, 1<<16))
	k.snapshots = newSnapshots(c)
	k.spares = numbers(c.Slots+c.Snapshots, c.Spares)
	return k
}

// numbers returns n numbers from first on, for taking from the end: the
// smallest comes last.
func numbers(first, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(first + n - 1 - i)
	}
	return out
}

// Need returns the number of pages that hold n positions.
func (c *Cache) Need(n int) int { return (n + c.PageSize - 1) / c.PageSize }

// Room returns the number of pages that one sequence can come to hold: all but
// the pinned ones.
func (c *Cache) Room() int { return c.Config.Pages - c.tree.pinned }

// Moves returns what is to be copied since the last call. The list is valid
// until the next call of another method.
func (c *Cache) Moves() []Move {
	moves := c.moves
	c.moves = c.moves[:0]
	return moves
}

func (c *Cache) move(kind MoveKind, from, to int32) {
	c.moves = append(c.moves, Move{kind, from, to})
}

// Usage is how much of everything is in use.
type Usage struct {
	Pages, FreePages     int // FreePages hold nothing
	CachedPages          int // hold what nobody uses now and go when room is needed
	PinnedPages          int
	Slots, FreeSlots     int
	Snapshots, HostSaved int // in the rows of the device and of the host
}

// Usage returns how much is in use now.
func (c *Cache) Usage() Usage {
	return Usage{
		Pages: c.Config.Pages, FreePages: len(c.pages.free), CachedPages: c.tree.idle.len, PinnedPages: c.tree.pinned,
		Slots: c.Config.Slots, FreeSlots: len(c.slots),
		Snapshots: c.Config.Snapshots - len(c.snapshots.device), HostSaved: c.HostSnapshots - len(c.snapshots.host),
	}
}
