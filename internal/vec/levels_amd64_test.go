package vec

import "testing"

// eachLevel runs test with every implementation that this processor has.
func eachLevel(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	defer func(best level) { active = best }(active)
	for active = detect(); active >= plain; active-- {
		t.Run(Features(), test)
	}
}
