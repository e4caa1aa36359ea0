"""OpenAI, or a compatible service: how a request is sent, what it may have generated, and what its answer says.

A request has a body and an `Exchange`. It is sent in at most three attempts: `client` sends them, `retry` decides
whether there is another, `refusals` and `complaints` say what a failed one means. `bodies` says what can be made of a
response. Of a `stream`, `sse` splits it into events, and `meter` reads them: by the `format` of the route it finds the
text in one, and the usage, as far as `usage` believes it. `answers` reads whole answers. What is charged is decided in
`gptdock.ledger.charges`; this package finds out what that depends on. Each rule is followed by tests that fail without
it.

**Deadlines.** CONNECT_TIMEOUT bounds the connection of one attempt. For a stream, FIRST_EVENT_TIMEOUT bounds all
attempts, the pauses between them and the wait for the first event together; then EVENT_TIMEOUT bounds the wait for each
further event. A comment is not an event. A model that may think has THINK_TIMEOUT instead of both while it may do so
unseen, since its silence is no fault: until its first text, before the headers, too (what stands between may send these
with the first event only, and callers get pings from the headers on); behind a summary of thoughts, which is text, but
not their end; within an item of thoughts, and between items. After the first event, comments of the upstream count as
life. What came while the process stood still is read before a silence ends a stream. A whole answer, of which nothing
can be seen before its end, has only REQUEST_TIMEOUT, which bounds streams, too (`gptdock.http.gate`).
aiohttp's own limits, 300 s for a request and 100 connections, are off: MAX_STREAMS bounds the connections.
    Test: test_a_connection_that_is_not_accepted_ends_at_the_deadline,
    test_an_upstream_that_sends_no_head_is_left_at_the_deadline,
    test_an_upstream_that_sends_no_event_is_left_at_the_deadline,
    test_the_first_event_may_take_longer_than_any_later_one,
    test_a_stalled_stream_ends_with_an_error_also_if_comments_drip,
    test_a_model_may_think_longer_than_between_events_until_its_first_text,
    test_a_model_that_sums_its_thoughts_up_may_think_on,
    test_a_model_that_has_written_after_its_summary_may_not_think_on,
    test_a_model_may_think_before_its_headers_come, test_a_model_that_may_think_has_no_more_time_after_its_first_text,
    test_comments_of_the_upstream_keep_a_model_alive_that_may_think,
    test_what_came_while_the_process_stood_still_ends_the_silence,
    test_a_whole_answer_has_the_request_s_deadline_only, test_more_streams_than_the_default_pool_of_aiohttp_run_at_once

**Retries.** An attempt is retried if its connection was refused, or was reset or closed before the response headers,
if two answers came to it, or if its status is 408, 429, 500, 502, 503 or 504; `x-should-retry` overrules the status.
There is a pause before: what `retry-after-ms`, otherwise `Retry-After` asks for, or a random time of up to 0.5 s and
then 1 s. More than 5 s are not waited for. Never retried are a connection that timed out, an unknown host, a failed TLS
handshake, anything but HTTP, a redirect, and an account without credit: another attempt would end like the first.

Nothing is retried after the headers of a response with status 200, let alone after its first byte was relayed: an
answer has begun, and a second one would be paid for as well. For the same reason a caller is told not to repeat a
request that is charged (`x-should-retry: false`). A budget of the process bounds retries: each takes one of 50 tokens,
each request gives back a tenth. So an upstream that stays down gets a tenth more load, and not three times as much.
    Test: test_a_refused_connection_is_attempted_three_times, test_a_passing_fault_is_attempted_three_times,
    test_an_unknown_host_is_attempted_once, test_a_failed_tls_handshake_is_attempted_once,
    test_a_lasting_refusal_is_attempted_once, test_the_header_x_should_retry_decides,
    test_an_upstream_account_without_credit_is_attempted_once, test_a_pause_lasts_five_seconds_at_most,
    test_a_rate_limit_in_milliseconds_is_read_first,
    test_a_head_without_a_body_has_broken_off, test_a_lasting_failure_does_not_triple_the_load,
    test_an_answer_with_a_false_length_is_counted_and_not_asked_for_again

**Kept connections.** HTTP does not say which answer is whose, only their order does. So a connection is used again
only if all that came on it was one right answer to each request: after anything else, such as an error status or bytes
that came while it was idle, read or unread, the next answer may be another client's. An answer that comes before its
request was sent, or together with a second one, is not believed either. What cannot be told apart is a single answer
too many that looks right and passes a request on its way; only that request gets it, unless the right answer comes
even later, after the next request was sent.
    Test: test_a_connection_that_got_bytes_while_it_was_idle_is_not_used,
    test_a_connection_with_bytes_behind_its_answer_is_not_used,
    test_a_connection_whose_answer_was_not_right_is_not_used, test_two_answers_to_one_request_are_asked_for_anew

**Refusals.** A complaint of the upstream, in the body of a refusal or in an error event, is read in the forms of
several vendors, also where the status is 200: JSON with an error and without text is free, if it reports no usage, and
so is an event of the name `error`, if the end of the answer does not follow at once and reports one. A 4xx that will
not change is about the request. Whoever wrote that, on OpenAI's route, is told the upstream's status, message, `param`
and code, in an event if the stream has begun; on `/v1/ask`, whose request is ours, it is a 502. `masks` masks what
looks like a key, and our own, whole or in part, whatever it looks like. 401, 403 and 407 are about our key, 402 about
our credit: their words are told to nobody. No words are logged. Where asking again is vain, callers are told so
(`x-should-retry: false`).
    Test: test_a_refusal_that_will_not_change_keeps_its_status, test_a_refusal_of_our_key_is_a_502_that_says_nothing,
    test_the_reason_of_a_refusal_is_told_and_not_logged, test_whatever_looks_like_a_key_is_masked,
    test_our_own_key_is_masked_whatever_its_shape, test_our_own_key_is_masked_as_it_is_abbreviated,
    test_a_refusal_with_a_good_status_is_the_caller_s_in_any_form,
    test_an_event_of_the_name_error_is_one_whatever_its_data,
    test_an_error_with_a_usage_is_charged_and_not_to_be_asked_again,
    test_a_usage_that_comes_behind_an_error_is_charged,
    test_what_was_generated_in_spite_of_the_status_is_charged_and_not_asked_again,
    test_a_large_answer_in_spite_of_the_status_is_charged, test_our_key_is_masked_in_whatever_event_an_error_stands,
    test_an_answer_with_another_good_status_is_passed_on_and_charged,
    test_an_error_of_the_caller_as_the_first_event_has_its_status,
    test_a_reason_in_the_middle_of_a_stream_is_told_in_its_last_event,
    test_a_reason_is_not_told_on_ask_and_not_to_be_asked_again, test_a_complaint_is_read_from_any_form

**What may have been generated.** Nothing, until aiohttp has a connection and writes the body to it. Nothing, if the
upstream refused: by a status, an error in place of the answer, or a body that cannot be one. What has a usage or text
was generated, whatever its status. But an attempt that broke off without a status more than a second after it was sent
counts like an answer that was cut, prompt and time, whether a retry then answers or not; one that broke off sooner
counts as nothing.

`Exchange` has the seconds of attempts that may have generated. They are charged, as tokens per second, where tokens
cannot be seen: before a whole answer, before a stream's head, while a model may think unseen, as above, and while a
caller does not read on who then leaves. Every model may think, except for those known to write at once; after the head,
no text of these is no text.
    Test: test_books_balance_wherever_a_whole_answer_is_cancelled, test_anything_but_a_stream_is_refused_and_free,
    test_anything_but_a_whole_answer_is_refused_and_free, test_a_model_may_think_unless_it_is_known_not_to,
    test_a_connection_closed_at_once_before_the_head_is_attempted_thrice_and_free,
    test_an_attempt_lost_after_a_second_is_charged_besides, test_a_lost_attempt_is_charged_on_every_route,
    test_thoughts_that_are_only_summed_up_cost_the_time_that_they_may_take,
    test_what_is_generated_while_a_caller_does_not_read_costs_its_time,
    test_a_whole_answer_without_a_usage_costs_what_was_thought_before_it_came

**Events leave as the API says:** `data: `, one line of JSON, a blank line; `sse` has the rule. One that comes so is
passed on as it came.
    Test: test_every_event_leaves_as_the_api_says, test_odd_events_leave_as_the_api_says_wherever_they_are_cut,
    test_a_plain_event_is_the_same_bytes, test_any_stream_cut_anywhere_is_read_as_the_specification_says

The first event decides between an answer and a refusal. JSON that is not an object, such as `null`, decides nothing,
nor does an event of the name `ping`: the next is waited for, and such events are not passed on.
    Test: test_a_stream_may_begin_with_events_that_say_nothing

**When an answer is whole.** A stream is whole if [DONE] came, and no error before it. The end of its body proves
nothing: where its length is not given, a connection that is cut looks the same. The last event counts without the blank
line behind it, if its data is whole. A whole answer is whole if all of it
came and it is JSON; of one over 64 KB only the end or the start is parsed, where the usage is; without one there, one
over 1 MB is passed on unparsed, and counted by its bytes. After malformed chunks aiohttp closes the connection without
telling the reader of the body, so the connection is watched.
    Test: test_a_stream_without_its_last_blank_line_is_whole, test_an_only_event_without_its_blank_line_is_charged,
    test_a_cut_stream_ends_with_an_error_and_without_done, test_an_answer_with_malformed_chunks_has_broken_off,
    test_a_whole_answer_that_is_not_json_is_counted, test_the_usage_at_the_end_of_a_large_answer_is_enough,
    test_the_usage_at_the_start_of_a_large_answer_is_enough,
    test_a_large_answer_is_not_parsed_but_for_its_usage,
    test_an_answer_of_over_a_megabyte_without_a_usage_is_counted_unparsed,
    test_a_large_answer_whose_end_is_missing_is_not_json

**Answers of another kind.** What was generated is charged, also if it is not what was asked for. What it is, its body
says, and not its content type. A whole answer in place of a stream is passed on as one event and [DONE]. A stream in
place of a whole answer, an answer over 16 MB, or over 1 MB in place of a stream, and JSON that may be an answer of
another API, are charged by their usage or by count, and a 502 for the caller. What is packed in spite of
`Accept-Encoding: identity` is unpacked, 1 MB at a time; in a way that nobody knows, it is charged by count, and logged.
    Test: test_a_whole_answer_to_who_asked_for_a_stream_is_one_event_and_done,
    test_a_stream_that_is_said_to_be_json_is_passed_on_as_it_comes,
    test_an_answer_that_is_nested_too_deeply_for_an_event_is_charged,
    test_a_stream_in_place_of_a_whole_answer_lets_others_have_their_turns,
    test_a_stream_in_place_of_a_whole_answer_is_read_up_to_a_limit,
    test_a_stream_to_who_asked_for_a_whole_answer_is_charged, test_of_an_answer_that_is_too_large_the_usage_is_charged,
    test_a_good_answer_of_another_content_type_is_passed_on_and_charged,
    test_a_good_stream_of_another_content_type_is_passed_on_and_charged,
    test_what_is_no_answer_is_free_whatever_its_content_type,
    test_a_broken_or_foreign_answer_is_counted_and_not_to_be_asked_for_again,
    test_vectors_in_another_shape_are_charged_and_a_fault, test_a_list_of_answers_is_charged_by_the_usage_in_it,
    test_a_large_answer_to_who_asked_for_a_stream_is_charged_and_not_parsed,
    test_a_packed_stream_is_unpacked_and_charged_exactly, test_an_unknown_coding_is_charged_by_count_and_logged,
    test_few_bytes_that_become_many_are_taken_in_parts

**What the meter keeps and counts.** It keeps the highest usage that can be believed, until text comes after it, and the
text of all events, so that an answer that is cut can be counted. An event that differs from a parsed one by its text
alone is not parsed; nor are the likely tokens (`top_logprobs`) that the last events of a response repeat.

Text is what stands in the fields of a choice in which generated text is known: `content`, `refusal`, the reasoning
under its various names, names and arguments of calls, the transcript of audio, `text`; the route lists them. Other JSON
says nothing about text: `{}`, pings, content filters, `choices: null`, null fields, names, ids. It is passed on, does
not make usage stale, and costs nothing when the answer is cut. Strings in fields that nobody knows may be text: they
are counted in an answer that is cut or has no usage, but an answer that ends with [DONE] may have told its usage
before. So are those in known fields in a form that nobody knows; arguments of a call that come parsed count as JSON.
Events of `/v1/responses` tell the same text up to four times; the longest telling counts, so text that comes in the
last event alone counts, too (`retold`).
What is not JSON counts as text, all its bytes: a charge that is too high is better than an answer for free.
Both count against the limit that the upstream was given, and the bytes of all events are bounded (`http.overrun`).
    Test: test_text_is_known_in_these_fields, test_all_other_json_says_nothing_about_text,
    test_text_that_is_told_four_times_counts_once_wherever_the_stream_is_cut,
    test_text_counts_in_whatever_event_it_comes, test_arguments_that_come_parsed_count_as_they_were_written,
    test_what_may_be_text_elsewhere_counts_but_leaves_the_usage,
    test_beside_text_only_other_strings_of_its_choice_may_be_text,
    test_a_stream_of_text_in_fields_nobody_knows_is_counted_and_bounded,
    test_a_stream_of_too_many_bytes_is_cut_whatever_they_are,
    test_a_frame_without_text_leaves_the_usage_that_came, test_usage_is_stale_once_more_text_came,
    test_an_event_that_is_not_json_counts_as_text, test_only_the_text_of_events_is_kept,
    test_an_event_tells_the_same_whether_one_like_it_was_parsed_or_not,
    test_a_large_event_tells_the_same_whatever_is_left_out_of_it, test_likely_tokens_are_not_parsed

A usage may also stand in a choice. It is its total or the sum of its parts, whichever is more, and the sum if there is
no total. It is not believed if it has neither a total nor both parts, or if its total is the prompt's alone beside text
that was seen; of embeddings, which have none, if it is 0: what was read costs. Some upstreams report with every event
from the first on: a stream that is cut before anything was generated is counted.
    Test: test_a_usage_is_found_wherever_upstreams_report_it,
    test_a_usage_is_its_total_or_its_parts_whichever_is_more,
    test_a_usage_that_cannot_be_believed_is_marked_and_not_used,
    test_a_usage_that_denies_the_text_that_was_seen_is_not_believed,
    test_a_usage_of_zero_is_not_believed_since_each_input_has_tokens,
    test_a_usage_before_anything_was_generated_does_not_make_a_cut_stream_free
"""
