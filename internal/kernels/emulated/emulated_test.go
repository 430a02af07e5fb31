package emulated

import "testing"

func TestBuild(t *testing.T) {
	k, err := kernelsIn("..")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(len(k))
}
