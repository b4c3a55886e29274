"""Command line of promptweight: commands over the library, which start without torch.

    main                                   the program: commands, errors and exit codes
    generate, edit, batch                  images
    prompt, info, ui                       prompts, image files, and the app
    evaluate, bench                        measurements
    options, rerun                         shared options, and options from an image file
    batch_options, batch_preview           the plan of a batch from its options, and its preview
    console, progress, interrupts          output, progress bars, and Ctrl-C
    prompt_report, token_report            tables of a prompt and of its tokens
    help_listing                           the command listing in the READMEs

Data goes to stdout, everything else to stderr. Exit codes: 0 success, 1 failure, 2 wrong usage (a value
outside its range, a word that is not in the prompt), 130 stopped by Ctrl-C.
"""

from promptweight.cli.main import app, main

__all__ = ["app", "main"]
