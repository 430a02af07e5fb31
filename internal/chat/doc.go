// Package chat turns messages and tools into the prompt text of a model, and
// the text that the model generates into reasoning, content and tool calls.
//
// It knows which chat template of a checkpoint applies, and passes it the
// variables that the transformers library passes: messages, tools, documents,
// add_generation_prompt, the special tokens of tokenizer_config.json, and each
// of the request's chat_template_kwargs. It checks the shape of a request, and
// leaves the meaning of roles, tools and content parts to the template. From
// what the template makes of a tool call it knows how the model writes one
// (Format), and a Parser takes such text apart while it comes.
//
// It does not read files, does not tokenize, does not call tools and does not
// check their arguments. The template language is package jinja's.
//
// Source: the behaviour of apply_chat_template in transformers 5.17.
package chat
