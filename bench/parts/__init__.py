"""The parts of `qingliu bench`, a module each; `part(scale, stack)` gives what it measures: see bench.part."""
