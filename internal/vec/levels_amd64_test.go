package vec

import "testing"

// eachLevel runs test with every implementation that this processor has.
func eachLevel(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	defer func(best level) { active = best }(active)
	if vbmi && active == avx512 {
		vbmi = false
		t.Run("avx512 without vbmi", test)
		vbmi = true
	}
	for active = detect(); active >= plain; active-- {
		t.Run(Features(), test)
	}
}
