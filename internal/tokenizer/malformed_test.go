package tokenizer

import (
	"fmt"
	"strings"
	"testing"
)

// minimal is a file that works, to be broken in one place.
func minimal(part, broken string) string {
	parts := map[string]string{
		"version": `"1.0"`, "truncation": `null`, "padding": `null`, "added_tokens": `[]`,
		"normalizer": `null`, "pre_tokenizer": `null`, "post_processor": `null`, "decoder": `null`,
		"model": `{"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}`,
	}
	parts[part] = broken
	var out []string
	for k, v := range parts {
		out = append(out, fmt.Sprintf("%q: %s", k, v))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

// bpeWith returns a file whose model has other fields.
func bpeWith(fields string) string { return minimal("model", `{"type": "BPE", `+fields+`}`) }

const goodVocab = `"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": []`

// malformed are files that must be refused, and words of the error.
var malformed = []struct{ name, file, want string }{
	{"empty", ``, "the end of the file, want an object"},
	{"array", `[]`, "got an array, want an object"},
	{"cut short", `{"model": {"type": "BPE", "vocab": {"a": 0`, "model.vocab: got the end of the file"},
	{"more behind", minimal("version", `"1.0"`) + "x", "more follows"},
	{"no model", `{"version": "1.0"}`, "model is missing"},
	{"unknown field", minimal("modle", "{}"), "modle: this field is not known"},
	{"twice", `{"version": "1.0", "version": "1.0"}`, "version: appears twice"},
	{"version", minimal("version", `"2.0"`), `version: got a string "2.0", want "1.0"`},
	{"version number", minimal("version", `1`), `version: got a number`},
	{"truncation", minimal("truncation", `{"max_length": 5}`), "truncation: got an object, want null"},
	{"padding fixed", minimal("padding", `{"strategy": {"Fixed": 8}}`), "padding.strategy: want BatchLongest"},
	{"padding multiple", minimal("padding", `{"strategy": "BatchLongest", "pad_to_multiple_of": 8}`), "padding.pad_to_multiple_of: got a number"},
	{"deep", strings.Repeat(`{"model":`, 100), "nested deeper"},
	{"deep array", minimal("normalizer", strings.Repeat("[", 1000)), "normalizer"},
	{"escape", minimal("version", `"\q"`), "an escape that JSON does not have"},
	{"surrogate", minimal("version", `"\ud800"`), "an escape that JSON does not have"},
	{"control", minimal("version", "\"\x01\""), "control character"},
	{"not UTF-8", minimal("version", "\"\xff\""), "not UTF-8"},
	{"number", minimal("version", `01`), `version: "01" is not a number`},
	{"huge number", minimal("version", `1e999`), "does not fit"},
	{"word", minimal("version", `nul`), "want a JSON value"},

	{"model type", minimal("model", `{"type": "WordPiece", "vocab": {"a": 0}}`), `model: type "WordPiece" is not known`},
	{"model without type", minimal("model", `{"vocab": {"a": 0}, "merges": []}`), "model: type is missing"},
	{"model array", minimal("model", `[]`), "model: got an array, want an object"},
	{"no vocab", bpeWith(`"merges": []`), "model: vocab is missing"},
	{"no merges", bpeWith(`"vocab": {"a": 0}`), "model: merges is missing"},
	{"vocab string", bpeWith(`"vocab": "a", "merges": []`), "model.vocab: got a string, want an object"},
	{"id string", bpeWith(`"vocab": {"a": "0"}, "merges": []`), "model.vocab.a: got a string, want a number"},
	{"id negative", bpeWith(`"vocab": {"a": -1}, "merges": []`), "model.vocab.a: got -1, want a token id"},
	{"id fraction", bpeWith(`"vocab": {"a": 1.5}, "merges": []`), "model.vocab.a: got 1.5, want a token id"},
	{"id huge", bpeWith(`"vocab": {"a": 2147483648}, "merges": []`), "model.vocab.a: got 2147483648, want a token id"},
	{"id beyond all", bpeWith(`"vocab": {"a": 99999999999999999999999}, "merges": []`), "want a token id"},
	{"id out of proportion", bpeWith(`"vocab": {"a": 1048576}, "merges": []`), "want a token id from 0 to 1048575"},
	{"same id", bpeWith(`"vocab": {"a": 0, "b": 0}, "merges": []`), `model.vocab.b: id 0 is taken by "a"`},
	{"same token", bpeWith(`"vocab": {"a": 0, "a": 1}, "merges": []`), "model.vocab.a: this token appears twice"},
	{"merge unknown", bpeWith(`"vocab": {"a": 0}, "merges": [["a", "b"]]`), `model.merges[0][1]: the token "b" is not in model.vocab`},
	{"merge to unknown", bpeWith(`"vocab": {"a": 0, "b": 1}, "merges": ["a b"]`), `model: merges[0]: the token "ab" is not in model.vocab`},
	{"merge of one", bpeWith(`"vocab": {"a": 0}, "merges": ["a"]`), `model.merges[0]: got "a", want two tokens`},
	{"merge of three", bpeWith(`"vocab": {"a": 0}, "merges": [["a", "a", "a"]]`), "model.merges[0]: got an array of 3, want two tokens"},
	{"merge number", bpeWith(`"vocab": {"a": 0}, "merges": [1]`), "model.merges[0]: got a number, want an array"},
	{"merges before vocab", bpeWith(`"merges": [["a", "x"]], "vocab": {"a": 0}`), `model.merges[0][1]: the token "x" is not`},
	{"merge shorter than prefix", bpeWith(`"vocab": {"a": 0}, "merges": [["a", "a"]], "continuing_subword_prefix": "##"`), "shorter than continuing_subword_prefix"},
	{"dropout", bpeWith(goodVocab + `, "dropout": 0.1`), "model.dropout: got 0.1, want null"},
	{"unk", bpeWith(goodVocab + `, "unk_token": "<unk>"`), `model.unk_token: "<unk>" is not in model.vocab`},
	{"flag", bpeWith(goodVocab + `, "byte_fallback": 1`), "model.byte_fallback: got a number, want a boolean"},
	{"model field", bpeWith(goodVocab + `, "novelty": true`), "model.novelty: this field is not known"},
	{"unigram", minimal("model", `{"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 1}`), "model.unk_id: got 1, want a whole number from 0 to 0"},
	{"unigram unk", minimal("model", `{"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": null}`), "model: unk_id is missing"},
	{"unigram empty", minimal("model", `{"type": "Unigram", "vocab": [], "unk_id": 0}`), "not empty"},
	{"unigram pair", minimal("model", `{"type": "Unigram", "vocab": [["a"]], "unk_id": 0}`), "model.vocab[0]: got an array of 1"},
	{"unigram score", minimal("model", `{"type": "Unigram", "vocab": [["a", "b"]], "unk_id": 0}`), "model.vocab[0][1]: got a string, want a number"},
	{"unigram object", minimal("model", `{"type": "Unigram", "vocab": {"a": 0}, "unk_id": 0}`), "model: vocab: got an object"},

	{"added object", minimal("added_tokens", `{}`), "added_tokens: got an object, want an array"},
	{"added field", minimal("added_tokens", `[{"id": 0, "content": "a"}]`), "added_tokens[0]: special is missing, want a boolean"},
	{"added id", minimal("added_tokens", added(1<<31, "x")), "added_tokens[0].id: got 2.147483648e+09"},
	{"added taken", minimal("added_tokens", added(0, "x")), `"x" has id 0, which is taken by "a"`},
	{"added elsewhere", minimal("added_tokens", added(5, "a")), `"a" has id 5, and 0 in model.vocab`},
	{"added long", minimal("added_tokens", added(5, strings.Repeat("x", 2000))), "got 2000 bytes, want at most 1024"},

	{"normalizer type", minimal("normalizer", `{"type": "Magic"}`), `normalizer: type "Magic" is not known`},
	{"normalizer no type", minimal("normalizer", `{}`), "normalizer: type is missing, want a string"},
	{"normalizer string", minimal("normalizer", `"NFC"`), "normalizer: got a string, want an object"},
	{"normalizer field", minimal("normalizer", `{"type": "NFC", "x": 1}`), "normalizer.x: this field is not known"},
	{"replace", minimal("normalizer", `{"type": "Replace", "pattern": {"String": 1}, "content": ""}`), "normalizer.pattern.String: got a number, want a string"},
	{"replace nothing", minimal("normalizer", `{"type": "Replace", "pattern": {}, "content": ""}`), "normalizer.pattern: Regex is missing"},
	{"charsmap", minimal("normalizer", `{"type": "Precompiled", "precompiled_charsmap": "?"}`), "precompiled_charsmap: illegal base64"},
	{"charsmap short", minimal("normalizer", `{"type": "Precompiled", "precompiled_charsmap": "/////w=="}`), "the table says 4294967295 bytes"},

	{"pre type", minimal("pre_tokenizer", `{"type": "UnicodeScripts"}`), `pre_tokenizer: type "UnicodeScripts" is not known`},
	{"sequence", minimal("pre_tokenizer", `{"type": "Sequence", "pretokenizers": [{"type": "Digits"}]}`), "pre_tokenizer.pretokenizers[0]: individual_digits is missing"},
	{"behavior", minimal("pre_tokenizer", `{"type": "Split", "pattern": {"String": "a"}, "behavior": "Gone", "invert": false}`), `behavior: got "Gone"`},
	{"scheme", minimal("pre_tokenizer", `{"type": "Metaspace", "replacement": "_", "prepend_scheme": "now and then"}`), "prepend_scheme: got"},
	{"replacement", minimal("pre_tokenizer", `{"type": "Metaspace", "replacement": "__"}`), `replacement: got "__", want one character`},
	{"regex", minimal("pre_tokenizer", splitBy(`(a`)), "a group without an end"},
	{"regex class", minimal("pre_tokenizer", splitBy(`[a`)), "a [ without an end"},
	{"regex sets", minimal("pre_tokenizer", splitBy(`[a&&b]`)), "in a bracket expression is not known"},
	{"regex group", minimal("pre_tokenizer", splitBy(`(?m:.)`)), "is not known to us"},
	{"regex escape", minimal("pre_tokenizer", splitBy(`\\R`)), `the escape \R is not known`},
	{"regex property", minimal("pre_tokenizer", splitBy(`\\p{Nonsense}`)), `\p{Nonsense} is not known`},
	{"regex repeat", minimal("pre_tokenizer", splitBy(`*`)), "nothing to repeat"},
	{"regex nested", minimal("pre_tokenizer", splitBy(strings.Repeat("(", 70))), "nested deeper"},
	{"regex long", minimal("pre_tokenizer", splitBy(strings.Repeat("a", 1<<15))), "a regular expression of 32768 bytes"},

	{"post type", minimal("post_processor", `{"type": "Magic"}`), `post_processor: type "Magic" is not known`},
	{"template", minimal("post_processor", `{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [], "special_tokens": {}}`), `"x" is not in special_tokens`},
	{"template B", minimal("post_processor", `{"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B", "type_id": 0}}], "pair": [], "special_tokens": {}}`), `got "B", want A`},
	{"template id", minimal("post_processor", `{"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {"x": {"id": "x", "ids": [-1], "tokens": ["x"]}}}`), "got -1, want a token id"},
	{"two", minimal("post_processor", `{"type": "Sequence", "processors": [`+bertPost+`, `+bertPost+`]}`), "a second processor that adds tokens"},
	{"cls", minimal("post_processor", `{"type": "BertProcessing", "cls": ["a"], "sep": ["a", 0]}`), "cls: want a token's text and id"},

	{"decoder type", minimal("decoder", `{"type": "CTC"}`), `decoder: type "CTC" is not known`},
	{"decoder strip", minimal("decoder", `{"type": "Strip", "content": " ", "start": -1, "stop": 0}`), "decoder.start: got -1"},
	{"decoder list", minimal("decoder", `{"type": "Sequence", "decoders": {}}`), "decoder.decoders: got an object, want an array"},
}

const bertPost = `{"type": "BertProcessing", "cls": ["a", 0], "sep": ["a", 0]}`

func splitBy(regex string) string {
	return `{"type": "Split", "pattern": {"Regex": "` + regex + `"}, "behavior": "Isolated", "invert": false}`
}

func added(id int, content string) string {
	return fmt.Sprintf(`[{"id": %d, "content": %q, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}]`, id, content)
}

func TestMalformed(t *testing.T) {
	if _, err := Parse([]byte(minimal("version", `"1.0"`))); err != nil {
		t.Errorf("the file to break is broken: %v", err)
	}
	for _, c := range malformed {
		_, err := Parse([]byte(c.file))
		switch {
		case err == nil:
			t.Errorf("%s: no error, want one with %q", c.name, c.want)
		case !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "tokenizer.json: "):
			t.Errorf("%s: got error %q, want one with %q", c.name, err, c.want)
		}
	}
}
