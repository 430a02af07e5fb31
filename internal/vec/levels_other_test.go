//go:build !amd64

package vec

import "testing"

const blockBytes = 256 << 10

// eachLevel runs test with every implementation that this processor has.
func eachLevel(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run(Features(), test)
}
