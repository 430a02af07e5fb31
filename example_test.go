package godwit_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/godwit-llm/godwit"
)

// The built-in model continues a text.
func Example() {
	m, err := godwit.OpenBuiltin(godwit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	result, err := m.Generate(context.Background(), godwit.Request{
		Prompt:    "Once upon a time",
		Sampling:  &godwit.Sampling{}, // greedy
		MaxTokens: 7,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q, ended by %s\n", result.Text, result.FinishReason)
	// Output: ", I was in a state of", ended by length
}

// Tokens arrive as they are made.
func ExampleModel_Start() {
	m, err := godwit.OpenBuiltin(godwit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	g, err := m.Start(context.Background(), godwit.Request{
		Messages:  []godwit.Message{{Role: "user", Content: "The ship was lost."}},
		Sampling:  &godwit.Sampling{Temperature: 0.8, TopP: 0.95},
		Seed:      new(uint64(7)),
		MaxTokens: 5,
	})
	if err != nil {
		log.Fatal(err)
	}
	n := 0
	for range g.Tokens() {
		n++
	}
	fmt.Println(n, "tokens", g.Err())
	// Output: 5 tokens <nil>
}

// Errors have a class.
func ExampleOpen_errors() {
	_, err := godwit.Open("no/such/directory", godwit.Options{})
	fmt.Println(errors.Is(err, godwit.ErrNotFound))
	// Output: true
}

// Score tells how likely a text is.
func ExampleModel_Score() {
	m, err := godwit.OpenBuiltin(godwit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	ids, err := m.Encode("Once upon a time", true)
	if err != nil {
		log.Fatal(err)
	}
	s, err := m.Score(context.Background(), ids, 1)
	if err != nil {
		log.Fatal(err)
	}
	for i, logProb := range s.LogProbs {
		text, _ := m.Decode(ids[i+1 : i+2])
		fmt.Printf("%q %.1f\n", text, logProb)
	}
	// Output:
	// "O" -6.0
	// "nce" -3.4
	// " upon" -2.8
	// " a" -0.4
	// " time" -1.7
}
