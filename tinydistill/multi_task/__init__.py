"""Several tasks and one student: its body learns all of them, with a head for each."""
