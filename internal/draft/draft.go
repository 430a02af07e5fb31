// Package draft guesses how sequences go on, and says how much of the guesses a
// step should verify.
//
// A model that computes one token of one sequence reads all of its weights for
// it, and reads no more of them for several tokens. So ids that are likely to
// follow are computed along with the one that leads to them, and as many are
// accepted as the model would have chosen itself: the output is what it is
// without drafts, in fewer steps.
//
// The package sees ids, and times that it is told. It knows no model, no device
// and no clock, and takes no locks.
package draft

// Drafter guesses how one sequence goes on.
type Drafter interface {
	// Add takes the next ids of the sequence, whoever guessed them.
	Add(ids ...int32)
	// Draft returns at most most ids that may follow. It is valid until the next
	// call.
	Draft(most int) Draft
}

// Draft is a guess of how a sequence goes on.
type Draft struct {
	IDs []int32
	// Accepted holds how likely it is, by experience, that each id is accepted:
	// that it is right and so are those before it. It does not grow.
	Accepted []float32
}

// Cut returns the first n ids.
func (d Draft) Cut(n int) Draft { return Draft{IDs: d.IDs[:n], Accepted: d.Accepted[:n]} }
