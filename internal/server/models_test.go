package server

import "testing"

// TestFacts: the list of models tells what the model is, once there is one.
func TestFacts(t *testing.T) {
	ts, m := start(t, Options{}), testModel(t)
	var list modelList
	ts.call("GET", "/v1/models", "", 200, &list)
	if f := list.Data[0].Facts; f != nil {
		t.Errorf("got the facts %+v of a model that is being loaded", *f)
	}
	ts.Use(m)
	ts.call("GET", "/v1/models", "", 200, &list)
	f := list.Data[0].Facts
	if f == nil {
		t.Fatal("got no facts of the model")
	}
	if f.Parameters != m.Parameters() || f.WeightBytes < f.Parameters || f.Architecture != m.Architecture() || f.Device != m.Device() || f.MaxSequences != 8 {
		t.Errorf("got %+v, want what the model says", *f)
	}
	if want := m.DefaultSampling(); f.Sampling.Temperature != want.Temperature || f.Sampling.TopP == 0 || f.SwitchesThinking {
		t.Errorf("got %+v, want the sampling %+v and no switch", *f, want)
	}
}
