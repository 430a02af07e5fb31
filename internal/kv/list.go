package kv

// list orders things by their use, the one that was not used for longest
// first.
type list[T any] struct {
	first, last *link[T]
	len         int
}

// link is a thing's place in a list.
type link[T any] struct {
	of         T
	in         *list[T] // nil: in none
	prev, next *link[T]
}

// push puts a link at the end, wherever it was.
func (l *list[T]) push(k *link[T]) {
	if k.in != nil {
		k.in.remove(k)
	}
	k.in, k.prev, k.next = l, l.last, nil
	if l.last != nil {
		l.last.next = k
	} else {
		l.first = k
	}
	l.last = k
	l.len++
}

// remove takes a link out, if it is in.
func (l *list[T]) remove(k *link[T]) {
	if k.in != l {
		return
	}
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		l.first = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	} else {
		l.last = k.prev
	}
	k.in, k.prev, k.next = nil, nil, nil
	l.len--
}
