//go:build !amd64

package vec

import "testing"

// The sizes of the blocks that other processors do not have.
const (
	blockBytes = 128 << 10
	minColumns = 48
)

// eachLevel runs test with every implementation that this processor has.
func eachLevel(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run(Features(), test)
}
