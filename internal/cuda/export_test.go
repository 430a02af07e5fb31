package cuda

// Candidates lists what is tried for a library on a system, given the files
// that exist.
func Candidates(goos, library string, driver Version, dirs []string, find func(string) []string) []string {
	p := map[string]product{"driver": driverProduct, "nvml": nvmlProduct, "blaslt": ltProduct(driver)}[library]
	return candidates(goos, p, dirs, find)
}

// Plans returns the number of shapes that a BLAS has an algorithm for.
func (b *BLAS) Plans() int { return len(b.plans) }

// MaxPlans is the most shapes that a BLAS keeps.
const MaxPlans = maxPlans
