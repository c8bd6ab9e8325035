"""The hub: one message to many.

Theory of operation
===================

A message passes through these, and through each in one order per topic::

    Hub.publish -> Link ~~> Topic.pending -> FanOut -> Member.hand -> outlet -> WebSocket
                (backplane)                                \\-> backlog -> drain task -/

- `hub`: `Hub`, what users call, and `inbound`, what the backplane calls.
- `topics`: `Topic`, a topic's members here and the messages that they have still to be given.
- `fanout`: `FanOut`, the one task that gives them.
- `members`: `Member`, what one of them has been given, and what becomes of it when it is slow.
- `outlets`: how messages get into a WebSocket: into the built-in engine's outbox without encoding
  them again, or through ``send_nowait`` and ``send`` of any other.
- `backlog`: what waits for one member, by the rule of its policy (`trio_ws.slow_consumers`).
- `membership`: `Membership`, a WebSocket in a topic as its handler sees it.
- `subscriptions`: `Subscription`, a topic as a Trio channel.
- `presence`: `PresenceWatch`, who comes and goes.
- `settings`: `HubLimits`.

Rules that everything here keeps:

1. `Hub.publish` returned, so every member has the message or will have it, unless it leaves, its
   policy drops it, or the hub is closed. It raised, so nobody will. Hence nothing is given to
   anybody in the publisher's task, which may be cancelled half way.
2. Giving a message to a member never waits. What a member has no room for goes to its backlog, and
   only then is there a task for it.
3. All members of a topic get its messages in one order. A message that was there when a member
   joined comes to it by ``since=`` or not at all; one that was there when it left, it has got.
4. Leaving is synchronous, and can be done at any time: in the midst of a fan-out, too.
5. What users give (``stamp=``, ``on_gap=``, the key of ``conflate``, a WebSocket of their own) may
   raise. That is logged, and costs at most the message or the member that it was asked about.
"""
