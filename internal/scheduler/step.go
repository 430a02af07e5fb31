package scheduler

import (
	"slices"
)

// Next decides what the next step holds. Its ids count as computed from then
// on: Computed has to be called before the next one, and the new ids be appended
// as they come.
//
// A device that makes steps and moves one after the other need not have made a
// step when the next one is decided on. A sequence whose next id is not known then
// is in the next step if the id has its place already; otherwise it waits.
func (s *Scheduler) Next() *Step {
	t := &s.step
	*t = Step{Pieces: t.Pieces[:0], Admitted: t.Admitted[:0], Complete: t.Complete[:0]}
	for _, q := range s.running {
		s.settle(q)
		s.cache.Shrink(&q.held, len(q.IDs))
	}
	s.grow()
	s.admit()
	s.pack()
	t.Moves = s.cache.Moves()
	return t
}

// grow gives every running sequence pages for its newest id. Where there are
// none, sequences give way, the last one first; it may be the one that needs
// the page.
func (s *Scheduler) grow() {
	for i := 0; i < len(s.running); i++ {
		q := s.running[i]
		for q.state == running && !s.cache.Grow(&q.held, len(q.IDs)) {
			s.preempt(s.running[len(s.running)-1])
		}
	}
}

// admit moves sequences to the running ones, in order, as long as there is
// room. Nobody overtakes the first that waits.
func (s *Scheduler) admit() {
	for len(s.waiting) > 0 && !s.blocked {
		q := s.waiting[0]
		if !s.start(q) && !s.displace(q) {
			s.blocked = true
		}
	}
}

// start admits a sequence if there is a slot, and pages for all its ids and one
// more for each sequence that runs.
func (s *Scheduler) start(q *Sequence) bool {
	fed, branch, ok := s.cache.Admit(&q.held, q.IDs, q.unneeded(), len(s.running))
	if !ok {
		return false
	}
	q.state, q.Fed = running, fed
	if q.Preemptions == 0 {
		q.Reused = fed
		s.step.Admitted = append(s.step.Admitted, q)
	}
	s.waiting = s.waiting[1:]
	s.running = insert(s.running, q)
	s.mark(q, branch)
	return true
}

// mark notes where the prompt passes of a sequence with a recurrent state will
// end: where it is likely to be wanted again, and where the sequence leaves
// what was computed before.
func (s *Scheduler) mark(q *Sequence, branch int) {
	q.cuts = q.cuts[:0]
	if !s.Recurrent || !s.Prefixes {
		return
	}
	q.cuts = append(q.cuts, q.Marks...)
	if branch > 0 {
		q.cuts = append(q.cuts, branch)
	}
	slices.Sort(q.cuts)
}

// displace makes a running sequence of lower priority give way to q, if all of
// them together could make the room.
func (s *Scheduler) displace(q *Sequence) bool {
	lower, pages := 0, 0
	for _, r := range s.running {
		if r.Priority < q.Priority {
			lower++
			pages += len(r.held.Pages)
		}
	}
	u := s.cache.Usage()
	if lower == 0 || u.FreePages+u.CachedPages+pages < s.cache.Need(len(q.IDs)) {
		return false
	}
	s.preempt(s.running[len(s.running)-1])
	return true
}

// pack fills the step: an id of each sequence that decodes, then prompts.
func (s *Scheduler) pack() {
	t := &s.step
	s.prompts = s.prompts[:0]
	for _, q := range s.running {
		switch {
		case q.decoding():
			t.Pieces = append(t.Pieces, Piece{Sequence: q, From: q.Fed, To: len(q.IDs), Decodes: q.Fed >= q.prompt})
		case q.Fed < len(q.IDs):
			q.Draft = nil // it will not be what follows then
			s.follow(q)
		default:
			s.finish(q)
		}
	}
	room := s.Tokens
	if len(t.Pieces) > 0 {
		s.draft()
		room = s.Budget - t.Tokens
	}
	s.share(room)
	outputs := s.Outputs - len(t.Pieces) - t.Drafted - s.ending()
	for _, p := range s.prompts {
		outputs -= s.limit(&p, outputs)
		if p.To > p.From {
			t.Pieces = append(t.Pieces, p)
			t.Tokens += p.To - p.From
		}
	}
	for i := range t.Pieces {
		p := &t.Pieces[i]
		p.Fed, p.again = p.To, 0
	}
	slices.SortStableFunc(t.Pieces, func(a, b Piece) int { return order(a.hidden()) - order(b.hidden()) })
}

func order(hidden bool) int {
	if hidden {
		return 1
	}
	return 0
}

// follow puts a prompt among those of the step. One that a prompt before it is
// computing the same ids for waits, to start behind them.
func (s *Scheduler) follow(q *Sequence) {
	q.Fed = s.cache.Advance(&q.held, q.IDs, q.Fed, q.unneeded())
	if q.Fed == len(q.IDs) {
		s.finish(q)
		return
	}
	for _, p := range s.prompts {
		if s.leads(p.Sequence, q) {
			return
		}
	}
	s.prompts = append(s.prompts, Piece{Sequence: q, From: q.Fed, To: q.Fed})
}

// finish is for a sequence that has no ids left to compute. Where results are
// wanted, they are on their way.
func (s *Scheduler) finish(q *Sequence) {
	if q.Want == Nothing {
		s.step.Complete = append(s.step.Complete, q)
	}
}

// leads reports whether p is about to compute ids that q needs as well, so that
// q can start behind them: the rest of a page or, with a recurrent state, those
// up to the next snapshot.
func (s *Scheduler) leads(p, q *Sequence) bool {
	if p.Fed < q.Fed || !s.Prefixes || s.Recurrent && s.cache.Snapshots+s.cache.HostSnapshots == 0 {
		return false
	}
	to := p.Fed - p.Fed%s.PageSize + s.PageSize
	if s.Recurrent {
		to = p.nextSnapshot(len(p.IDs))
	}
	if to > min(len(p.IDs), q.unneeded()) || to < s.cache.Least {
		return false
	}
	return p.IDs[q.Fed] == q.IDs[q.Fed] && slices.Equal(p.IDs[:to], q.IDs[:to])
}

// nextSnapshot returns the first place from which the state will be saved, or
// end if that comes first.
func (q *Sequence) nextSnapshot(end int) int {
	for _, c := range q.cuts {
		if c > q.Fed {
			end = min(end, c)
			break
		}
	}
	return min(end, q.Fed-q.Fed%q.spacing+q.spacing)
}

// share divides room among the prompts.
func (s *Scheduler) share(room int) {
	const least = 64 // tokens that are worth a piece of their own
	for i := range s.prompts {
		p, part := &s.prompts[i], room
		if i+1 < len(s.prompts) && s.prompts[i+1].Priority == p.Priority {
			part = min(room, max(least, (room+1)/2))
		}
		p.To += min(part, len(p.IDs)-p.To)
		room -= p.To - p.From
	}
	for i := range s.prompts {
		p := &s.prompts[i]
		more := min(room, len(p.IDs)-p.To)
		p.To += more
		room -= more
	}
}

// ending returns how many prompts end in the step and want their next id. There
// are outputs for them: there are as many as slots.
func (s *Scheduler) ending() int {
	n := 0
	for i := range s.prompts {
		if p := &s.prompts[i]; p.Want == Next && p.To == len(p.IDs) {
			n++
		}
	}
	return n
}

// limit shortens a piece where the state is to be saved, and where it wants the
// logits of more ids than there are outputs left. It returns how many it takes.
func (s *Scheduler) limit(p *Piece, outputs int) (taken int) {
	if s.Recurrent && s.Prefixes {
		p.cut()
	}
	if p.Want != Logits {
		return 0
	}
	p.To = min(p.To, max(p.From, p.First)+outputs)
	return max(0, p.To-max(p.From, p.First))
}

// cut ends a piece at the first place from which another sequence is likely to
// start, or else at the last place of the regular ones.
func (p *Piece) cut() {
	for _, c := range p.cuts {
		if c > p.From {
			if c < p.To {
				p.To = c
				return
			}
			break
		}
	}
	if at := p.To - p.To%p.spacing; at > p.From {
		p.To = at
	}
}

// Computed tells that the step has been computed, or will be before the next one:
// its pages can be found from now on, and states are saved. Of pieces with drafts
// that is known later.
func (s *Scheduler) Computed() {
	for i := range s.step.Pieces {
		p := &s.step.Pieces[i]
		if p.Want == Logits || p.Want == Hidden {
			p.First = max(p.First, p.To)
		}
		if p.state != running || len(p.Drafted) > 0 {
			continue
		}
		ids := p.IDs[:p.To]
		s.cache.Computed(&p.held, ids)
		if cut := slices.Contains(p.cuts, p.To); cut || p.To == p.prompt || p.From < p.prompt && p.To%p.spacing == 0 {
			s.cache.Save(&p.held, ids, cut)
		}
	}
}
