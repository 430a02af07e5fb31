package scheduler

// Decoding returns the sequences that the next step is to lead to their next
// ids, in order, unless they have to give way. It is to be called when the
// results of all steps are known. The list is valid until the next call.
func (s *Scheduler) Decoding() []*Sequence {
	s.decoding = s.decoding[:0]
	for _, q := range s.running {
		if s.settle(q); q.decoding() && q.Fed >= q.prompt {
			s.decoding = append(s.decoding, q)
		}
	}
	return s.decoding
}

// Behind returns how many ids are left to compute, the last of which leads to
// the next one.
func (q *Sequence) Behind() int { return len(q.IDs) - q.Fed }

// draft adds to the pieces that decode the drafts of what comes next, as far as
// there is room. Each id of a draft takes a token and an output of the step, but
// none that others need: every slot keeps one of both, and what a piece computes
// now bounds what it has to compute again, should its draft be wrong. While there
// are prompts to compute, they keep half of what is left.
func (s *Scheduler) draft() {
	t := &s.step
	for i := range t.Pieces {
		t.Tokens += t.Pieces[i].Tokens()
	}
	room := s.Budget - t.Tokens - (s.Slots - len(t.Pieces))
	if len(s.prompts) > 0 {
		room /= 2
	}
	room = min(room, s.Outputs-s.Slots)
	for i := range t.Pieces {
		p := &t.Pieces[i]
		if n := s.draftable(p, room); n > 0 {
			p.Drafted = p.Draft[:n]
			p.base = p.From
		} else {
			s.cache.Unguard(&p.held)
		}
		p.Sequence.drafted, p.Draft = p.Drafted, nil
		t.Tokens += len(p.Drafted)
		t.Drafted += len(p.Drafted)
		room -= len(p.Drafted)
	}
}

// draftable returns how many ids of its sequence's draft a piece can take, given
// room for so many: as many as there are pages for without anybody giving way,
// and none without a copy of the state, or before the output begins.
func (s *Scheduler) draftable(p *Piece, room int) int {
	q, n := p.Sequence, min(len(p.Draft), room)
	if n <= 0 || !p.Decodes {
		return 0
	}
	if !s.cache.Grow(&q.held, len(q.IDs)+n) {
		n = min(n, len(q.held.Pages)*s.PageSize-len(q.IDs))
	}
	if n <= 0 || !s.cache.Guard(&q.held) {
		return 0
	}
	return n
}

// settle compares the draft that a step has verified with the ids that the
// sequence was given since: those that agree are accepted, and what was computed
// for them stands. Where one does not, a recurrent state is put back to where it
// was before the step, and the ids since are computed again with the next ones.
func (s *Scheduler) settle(q *Sequence) {
	if len(q.drafted) == 0 {
		return
	}
	right := 0
	for right < len(q.drafted) && q.Fed+right < len(q.IDs) && q.drafted[right] == q.IDs[q.Fed+right] {
		right++
	}
	if s.Recurrent && right < len(q.drafted) {
		s.cache.Restore(&q.held)
		q.again = q.Fed + right - q.base
		q.Fed = q.base
	} else {
		s.cache.Unguard(&q.held)
		q.Fed += right
	}
	q.drafted = nil
	s.cache.Computed(&q.held, q.IDs[:q.Fed])
}
