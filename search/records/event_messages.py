"""What an event means in words, for people who follow a search."""

from search.records.events import Event, Fused, Noted, OutOfRace, Packed, Retried, RungDropped, Terminated, WarmStarted


def notice(event: Event) -> str | None:
    """A line about an event that concerns the whole search, None for the others."""
    match event:
        case Noted() | Terminated():
            return event.text
        case RungDropped():
            return (
                f"epoch {event.rung} says little of epoch {event.grace_period} (rank correlation about"
                f" {event.correlation:.2f}): the grace period is {event.grace_period} epochs from here on"
            )
        case Packed():
            share = event.gpus_per_trial
            return f"a trial gets {share:.3g} of a GPU: {round(1 / share)} at once on each, as measured"
        case Fused():
            count = event.num_trials
            who = f"{count} trials of a shape train as one program" if count > 1 else "trials of a shape train alone"
            return f"{who}, {'as measured' if event.settled else 'next, to see whether that pays'}"
        case Retried():
            return f"{event.trial} begins again from its last state: {event.reason}"
        case WarmStarted():
            taken, left = len(event.trials), event.num_left_out
            return f"starts from {taken} trials of {event.search}; {left} do not fit this search and are left out"
        case OutOfRace():
            return f"configuration {event.candidate}: {event.reason}; no further run of it begins"
    return None
