// Package hub fetches models from the Hugging Face Hub, or a server that
// speaks its protocol, into the cache that Hugging Face's own libraries use.
//
// It knows repositories, revisions, the hub's HTTP interface and the layout of
// the cache: what it fetches, those libraries find, and the other way round.
// It does not know what the files mean, beyond which of them a model consists
// of, and reads no environment variables.
//
// The cache holds for each repository
//
//	models--ORG--NAME/blobs/HASH              contents, by their hash
//	models--ORG--NAME/refs/REVISION           the commit that a branch or tag was last seen at
//	models--ORG--NAME/snapshots/COMMIT/PATH   links to blobs
//	.locks/models--ORG--NAME/HASH.lock        held while a blob is being fetched
//
// A blob takes its place only when its hash is right. Until then it grows as
// HASH.incomplete, from which a later attempt goes on. Each byte is written at
// its own place in that file: where locks do not work, two processes write the
// same bytes and do no harm.
package hub
