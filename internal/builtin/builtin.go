// Package builtin holds the small trained checkpoint that comes with the
// binary. It knows its files, and nothing about what is in them. The model's
// card is tools/train/README.md.
package builtin

import (
	"embed"
	"io/fs"
)

//go:embed model
var files embed.FS

// FS returns the checkpoint's files.
func FS() fs.FS {
	sub, err := fs.Sub(files, "model")
	if err != nil {
		panic("builtin: " + err.Error()) // only a wrong name can fail
	}
	return sub
}
