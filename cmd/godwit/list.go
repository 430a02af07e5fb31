package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-llm/godwit"
	"github.com/godwit-llm/godwit/internal/hub"
)

// listOutput is an object of godwit list --json.
type listOutput struct {
	Name      string    `json:"name"`
	Commit    string    `json:"commit"`
	Revisions []string  `json:"revisions"`
	Bytes     int64     `json:"bytes"`
	State     string    `json:"state"`
	Changed   time.Time `json:"changed"`
	Directory string    `json:"directory"`
}

func listCommand(c *console) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the models in the cache",
		Long: `List the models in the Hugging Face cache, also those that other programs have
fetched. A model is ready if --model finds all of it there.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			client, err := hubClient(c)
			if err != nil {
				return err
			}
			entries, err := client.Cache.List()
			if asJSON {
				return errors.Join(listJSON(c.out, entries), err)
			}
			return errors.Join(listTable(c.out, entries), err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func listJSON(out io.Writer, entries []hub.Entry) error {
	for _, e := range entries {
		line := listOutput{e.Repo, e.Commit, append([]string{}, e.Revisions...), e.Bytes, state(e), e.Changed, e.Snapshot.Dir}
		if err := printJSON(out, line); err != nil {
			return err
		}
	}
	return nil
}

func listTable(out io.Writer, entries []hub.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tREVISION\tCOMMIT\tSIZE\tCHANGED\tSTATE")
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%s\n", e.Repo, revisions(e), short(e.Commit), godwit.Bytes(e.Bytes), e.Changed.Format(time.DateOnly), state(e))
	}
	return w.Flush()
}

func removeCommand(c *console) *cobra.Command {
	return &cobra.Command{
		Use:   "rm ORG/NAME[@REVISION]",
		Short: "Remove a model from the cache",
		Long: `Remove a model from the Hugging Face cache, with all its revisions and what an
interrupted pull has left; or one revision, with the files that no other needs.`,
		Args: oneRepo,
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := hub.ParseName(args[0])
			if err != nil {
				return usageError{err}
			}
			client, err := hubClient(c)
			if err != nil {
				return err
			}
			if n.String() == args[0] && n.Revision == hub.DefaultRevision {
				return client.Cache.RemoveRepo(n)
			}
			return client.Cache.RemoveRevision(n)
		},
	}
}
