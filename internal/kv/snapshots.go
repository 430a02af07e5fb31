package kv

import "slices"

// snapshot is a recurrent state that was kept: the one behind the ids from the
// root to a node and those of its own. It belongs to the content, not to one of
// the pages that begin with it.
type snapshot struct {
	after  *node
	ids    []int32 // one page's at most
	row    int32
	host   bool // row is one of host memory
	proven bool // a sequence started from it, or is expected to
	pins   int
	link   link[*snapshot] // in none of the lists while pinned
}

// position returns how many ids the state is the state of.
func (s *snapshot) position(pageSize int) int { return s.after.depth*pageSize + len(s.ids) }

// snapshots are the rows that states are kept in. When a row of the device is
// needed, snapshots that nobody came back to go first; of the others, the one
// that was not used for longest moves to host memory.
type snapshots struct {
	device, host []int32 // free rows
	unproven     list[*snapshot]
	proven       list[*snapshot]
	saved        list[*snapshot] // in host memory
}

func newSnapshots(c Config) snapshots {
	return snapshots{device: numbers(c.Slots, c.Snapshots), host: numbers(0, c.HostSnapshots)}
}

// Save keeps the state of a sequence that has computed ids. Likely says that
// another sequence is expected to start from it.
func (c *Cache) Save(s *Sequence, ids []int32, likely bool) {
	if c.Snapshots+c.HostSnapshots == 0 || len(ids) < c.Least {
		return
	}
	n := c.tail(s, ids)
	after, rest := n.parent, ids[n.parent.depth*c.PageSize:]
	if k := after.kept(rest); k != nil {
		k.proven = k.proven || likely
		c.used(k)
		return
	}
	k := &snapshot{after: after, ids: slices.Clone(rest), proven: likely}
	k.link.of = k
	switch {
	case c.roomOnDevice():
		k.row = pop(&c.snapshots.device)
		c.move(CopyState, s.Slot, k.row)
	case c.roomOnHost():
		k.row, k.host = pop(&c.snapshots.host), true
		c.move(SaveState, s.Slot, k.row)
	default:
		return // all of them are pinned
	}
	at, _ := after.searchKept(rest)
	after.snapshots = slices.Insert(after.snapshots, at, k)
	c.used(k)
}

// searchKept returns the place of ids among the snapshots behind a node.
func (n *node) searchKept(ids []int32) (at int, there bool) {
	return slices.BinarySearchFunc(n.snapshots, ids, func(k *snapshot, ids []int32) int {
		return slices.Compare(k.ids, ids)
	})
}

// kept returns the snapshot behind a node and ids, or nil.
func (n *node) kept(ids []int32) *snapshot {
	if at, there := n.searchKept(ids); there {
		return n.snapshots[at]
	}
	return nil
}

// deepest returns the snapshot behind a node and most of ids, or nil.
func (n *node) deepest(ids []int32) *snapshot {
	for ; len(ids) > 0 && len(n.snapshots) > 0; ids = ids[:len(ids)-1] {
		if k := n.kept(ids); k != nil {
			return k
		}
	}
	return nil
}

func pop(rows *[]int32) int32 {
	last := len(*rows) - 1
	row := (*rows)[last]
	*rows = (*rows)[:last]
	return row
}

// used puts a snapshot at the end of its list.
func (c *Cache) used(k *snapshot) {
	switch {
	case k.pins > 0:
	case k.host:
		c.snapshots.saved.push(&k.link)
	case k.proven:
		c.snapshots.proven.push(&k.link)
	default:
		c.snapshots.unproven.push(&k.link)
	}
}

// roomOnDevice frees a row of the device unless one is free.
func (c *Cache) roomOnDevice() bool {
	s := &c.snapshots
	if len(s.device) > 0 {
		return true
	}
	if s.unproven.len > 0 {
		c.lose(s.unproven.first.of)
		return true
	}
	if s.proven.len == 0 {
		return false // there are none, or all are pinned
	}
	k := s.proven.first.of
	if !c.roomOnHost() {
		c.lose(k)
		return true
	}
	row := pop(&s.host)
	c.move(SaveState, k.row, row)
	s.device = append(s.device, k.row)
	k.row, k.host = row, true
	c.used(k)
	return true
}

// roomOnHost frees a row of host memory unless one is free.
func (c *Cache) roomOnHost() bool {
	s := &c.snapshots
	if len(s.host) == 0 && s.saved.len > 0 {
		c.lose(s.saved.first.of)
	}
	return len(s.host) > 0
}

// lose gives up a snapshot for want of room.
func (c *Cache) lose(k *snapshot) {
	if n, length := k.after.find(k.ids); length == len(k.ids) {
		n.lost = max(n.lost, length)
	}
	c.forget(k)
}

// forget gives a snapshot's row back.
func (c *Cache) forget(k *snapshot) {
	if k.link.in != nil {
		k.link.in.remove(&k.link)
	}
	rows := &c.snapshots.device
	if k.host {
		rows = &c.snapshots.host
	}
	*rows = append(*rows, k.row)
	at, _ := k.after.searchKept(k.ids)
	k.after.snapshots = slices.Delete(k.after.snapshots, at, at+1)
}

// restore puts a snapshot into a slot. One from host memory moves to the
// device, where the next sequence will look for it.
func (c *Cache) restore(k *snapshot, slot int32) {
	k.proven = true
	if k.link.in != nil {
		k.link.in.remove(&k.link) // so that it does not go itself
	}
	if k.host && c.roomOnDevice() {
		row := pop(&c.snapshots.device)
		c.move(LoadState, k.row, row)
		c.snapshots.host = append(c.snapshots.host, k.row)
		k.row, k.host = row, false
	}
	kind := CopyState
	if k.host {
		kind = LoadState
	}
	c.move(kind, k.row, slot)
	c.used(k)
}
