#!/usr/bin/env python3
"""Trains the tiny checkpoints that come with the engine. See README.md."""

import argparse


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    prep = commands.add_parser("prep", help="corpus.txt.xz to tokenizer.json, tokens.npy and chat.npy")
    prep.add_argument("folder")

    train = commands.add_parser("train", help="train on a GPU; writes folder/hybrid or folder/dense")
    train.add_argument("kind", choices=["hybrid", "dense"])
    train.add_argument("folder")
    train.add_argument("--seconds", type=float, required=True, help="time to train, without compiling")
    train.add_argument("--eager", action="store_true", help="do not compile the model")

    golden = commands.add_parser("golden", help="compute golden.json of checkpoints with transformers")
    golden.add_argument("checkpoints", nargs="+")
    golden.add_argument("--device", default="cpu")

    check = commands.add_parser("check", help="compare our model with golden.json of checkpoints")
    check.add_argument("checkpoints", nargs="+")

    run(parser.parse_args())


def run(args):
    # Imported late: each command needs only some of the packages.
    if args.command == "prep":
        import corpus

        corpus.prepare(args.folder)
    elif args.command == "train":
        import training

        training.train(args.kind, args.folder, args.seconds, args.eager)
    else:
        import golden

        for folder in args.checkpoints:
            golden.check(folder) if args.command == "check" else golden.make(folder, args.device)


if __name__ == "__main__":
    main()
