"""HTTP: the application and its routes, the connections of callers, the relay of an answer, and the drain.

A test in brackets fails without the rule before it. They are in tests/http, without their `test_`.

Connections
    fresh --first request--> busy --answer--> idle --next request--> busy

A fresh connection was accepted and has sent no complete head. Its first head must come within HEAD_TIMEOUT (10 s), also
if it comes byte by byte [a_head_that_drips_is_closed_at_the_deadline]. aiohttp has one deadline for all heads,
`keepalive_timeout`. It must be long (KEEPALIVE_TIMEOUT, 75 s): a backend may be about to reuse an idle connection, and
loses its request if we close it just then. So the first head has a deadline of its own, which ends with that head
[a_first_request_may_take_longer_than_its_head, a_kept_connection_outlives_the_deadline_of_heads]; each later one has
HEAD_TIMEOUT from its first byte, wherever that comes [a_later_head_that_stays_incomplete_is_closed_at_the_deadline,
half_a_head_behind_an_answer_does_not_cut_it]. A head may have 64 KB, not only each of its 128 lines 8
[a_head_may_have_64_kb_and_no_more, a_head_that_is_too_long_is_refused_before_it_ends]. aiohttp does not tell that a
head began, so `heads` follows what was read [a_body_is_no_head_however_long_it_is].

A busy connection has a request whose handler runs.
- A caller that leaves cancels the handler, even before the first token
  [however_a_caller_hangs_up_the_silent_upstream_is_closed]. aiohttp notices it only while it reads. Where pipelined
  requests or bodies would stop the reading, the connection is cut
  [a_caller_who_pipelines_much_and_leaves_is_noticed, a_caller_whose_next_body_waits_and_who_leaves_is_noticed].
- Each write has WRITE_TIMEOUT (20 s). Then the connection is reset: after a FIN the kernel would keep what it has
  buffered for a caller that does not read [a_caller_who_does_not_read_is_cut,
  a_caller_who_does_not_read_other_answers_is_cut_too].
- If the answer is complete before its request's body, for example a 403, aiohttp reads on for 1 s (`lingering_time`),
  then closes: a close with unread bytes would be a reset, which can destroy the answer on its way
  [a_refusal_does_not_wait_for_a_body_that_is_withheld].
- After a chunked body, and with HTTP/1.0, the connection is not kept
  [a_trailer_is_not_a_header_of_the_next_request, an_answer_to_http_1_0_ends_with_its_connection].

The relay of an answer
    hold, request to the upstream, its first event, 200, events, [DONE], end of the body, settlement
- Until the first event has come, a failure still has its status
  [an_error_instead_of_the_first_event_has_a_status_and_costs_nothing]. After the 200 it is an error event. `[DONE]` is
  sent if and only if the upstream sent it, so that a caller can tell whether the answer is complete
  [a_cut_stream_ends_with_an_error_and_without_done].
- A stream whose text goes far beyond the limit that the upstream was given is cut by an error event, the upstream is
  closed, and the hold is charged: `overrun` [a_stream_far_beyond_its_limit_is_cut_and_charged_by_its_hold].
- After each PING_SECONDS (15) without an event the caller gets a comment, `: ping`: proxies cut a connection that is
  silent for 30 or 60 s. It goes out between whole events, never after [DONE]
  [a_silent_stream_sends_its_caller_comments_between_events,
  tests/aiohttp_private/test_silence.py: silence_after_the_end_is_not_told]; and not to a caller who has yet to take
  what was sent before, so it neither grows memory nor touches WRITE_TIMEOUT
  [no_comment_is_sent_to_a_caller_who_does_not_read]. It is not charged [comments_to_the_caller_are_not_charged].
- A comment needs the head of our answer, and after that an error has no status. So before the first event there is none
  as a rule: not before the upstream's own head, which may be a refusal, and not with a model that writes at once, whose
  silence is a fault rather than a thought [no_comment_begins_an_answer_whose_status_may_still_be_an_error]. But if a
  model may think, and the upstream answered 200, silence means thought: after PING_SECONDS of it the answer begins by a
  comment, since a caller whose connection is cut gets no status at all
  [an_answer_begins_with_a_comment_while_its_model_thinks,
  an_error_after_the_answer_began_with_a_comment_is_an_event_and_free].
- A whole answer is kept until its caller has taken it, once, and sent by pieces
  [a_large_answer_waits_for_its_caller_piece_by_piece]. Callers can have two kinds be large for few tokens, vectors and
  likely tokens (`top_logprobs`): of these a process keeps 256 MB, as their requests bound them; what has no room gets
  503 before OpenAI is asked [what_has_no_room_is_refused_before_the_upstream_is_asked]. One that
  could not be passed on is refused [likely_tokens_that_make_an_answer_too_large_are_refused].
- However a request ends, nothing that it took waits for the garbage collector, which comes to what lived for seconds
  only after a million objects: until then the text of a stream would stay, and the body of a request that failed
  [nothing_of_a_request_waits_for_the_garbage_collector]. So an error is let go once it is told (`told`).
- aiohttp raises the same classes for the caller's connection and for the upstream's: only the place tells them apart.
- The settlement is a task of the ledger, so that a cancelled handler cannot lose it, and the drain waits for it
  [tests/system/test_cancel.py: books_balance_wherever_a_stream_is_cancelled].

Who pays for a request to OpenAI's routes
- The headers X-Client-Id and X-Product-Id say so or, for tools that take only a base URL and a key, its path
  [the_path_names_who_pays_in_any_script]. Two that disagree are refused, not ranked
  [headers_beside_the_path_must_agree_with_it]; so is an id that two readers may read differently
  [an_id_that_is_not_right_is_refused_on_every_route].
- Below such a base URL are OpenAI's routes, and no other
  [a_base_url_needs_the_key_and_has_no_route_but_openai_s]. Labels of metrics have the route without it, so that callers
  cannot make new ones.

Drain, on SIGTERM or SIGINT
1. At once, `/ready` answers 503 [a_process_is_ready_until_it_drains], and on a connection that had a request before,
   a new request gets 503 `draining` [a_request_that_comes_with_the_signal_is_told_that_this_process_drains]. No more
   connections are accepted, but none that was accepted is dropped
   [a_new_connection_is_refused_once_the_drain_began, a_connection_that_comes_with_the_signal_is_served_or_refused].
2. Idle connections close [an_idle_kept_connection_closes_at_once_when_the_drain_begins]. Busy ones close after their
   answer, which says so [an_answer_during_a_drain_says_that_it_is_the_last_of_its_connection]; a body that is arriving
   is still read [a_request_whose_body_is_under_way_when_the_drain_begins_is_served]. Fresh ones have 1 s for a first
   request, which is served [a_fresh_connection_has_its_first_request_served_and_is_closed,
   a_fresh_connection_that_stays_silent_is_closed_soon].
3. Open completions go on for DRAIN_SECONDS (30) [a_short_stream_ends_whole_and_is_charged_exactly]. What is open then
   is cut: a whole answer is 503, a stream ends with an error event, for a slow reader too
   [a_long_stream_is_cut_with_an_error_event_and_counted, a_caller_who_reads_slowly_is_told_that_its_stream_is_cut].
4. Answers that are still written then have CUT_SECONDS (3) more. Handlers that are not done by then are cancelled
   [a_whole_answer_that_is_not_read_is_cancelled_and_settled], and CANCEL_SECONDS (1) later no connection is waited for
   [a_caller_who_does_not_read_other_answers_cannot_stop_the_drain].
5. Every settlement is awaited, SETTLE_SECONDS (10) at most. What is unsettled then is logged; its lease expires and
   another process sweeps it [a_drain_tells_that_something_could_not_be_settled].
6. Connections that are still open are closed within CLEANUP_SECONDS (1), then the upstream's and DynamoDB's clients,
   last the operations port. The exit code is 0 if all is settled, otherwise 1.

These are DRAIN_SECONDS + 15 at most; supervisor kills the process after DRAIN_SECONDS + 20, its `stopwaitsecs`
[tests/system/test_supervisor.py: supervisor_waits_longer_than_a_drain_takes].
"""
