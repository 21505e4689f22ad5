"""What an event means in words, for people who follow a search."""

from search.records.ledger import Event


def notice(event: Event) -> str | None:
    """A line about an event that concerns the whole search, None for the others."""
    match event["event"]:
        case "noted" | "terminated":
            return str(event["text"])
        case "rung_dropped":
            return (
                f"epoch {event['rung']} says little of epoch {event['grace_period']} (rank correlation about"
                f" {event['correlation']:.2f}): the grace period is {event['grace_period']} epochs from here on"
            )
        case "packed":
            share = event["gpus_per_trial"]
            return f"a trial gets {share:.3g} of a GPU: {round(1 / share)} at once on each, as measured"
        case "fused":
            count = event["num_trials"]
            who = f"{count} trials of a shape train as one program" if count > 1 else "trials of a shape train alone"
            return f"{who}, {'as measured' if event['settled'] else 'next, to see whether that pays'}"
        case "retried":
            return f"{event['trial']} begins again from its last state: {event['reason']}"
        case "warm_started":
            taken, left = len(event["trials"]), event["num_left_out"]
            return f"starts from {taken} trials of {event['search']}; {left} do not fit this search and are left out"
        case "out_of_race":
            return f"{event['candidate']} is out of the race: {event['reason']}"
    return None
