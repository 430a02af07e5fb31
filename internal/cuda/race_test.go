//go:build race

package cuda_test

// raceDetector: sync.Pool drops things at random under it, so that calls into
// C allocate now and then.
const raceDetector = true
