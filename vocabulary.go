package godwit

// TokenBytes returns the bytes that a token id stands for in the middle of a
// text, where a character may be spread over several tokens, and whether it is
// a special token, which texts leave out. They are nil for an id without a
// token, and without a tokenizer.
func (m *Model) TokenBytes(id int32) (text []byte, special bool) {
	if m.tokenizer == nil {
		return nil, false
	}
	return m.tokenizer.Bytes(id), m.tokenizer.IsSpecial(id)
}
