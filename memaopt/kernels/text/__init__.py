"""Text of C and of assembly: templates, macros, and what an instruction reaches."""
