package cudatest

import "syscall"

// thread returns the number of the thread that runs: contexts are current by
// thread.
func thread() int { return syscall.Gettid() }
