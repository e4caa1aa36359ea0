"""The ledger: what each client has left, who holds how much of it, and what was charged.

DynamoDB is the only state, and all that processes share. No disk keeps anything and no cache decides: what a process
remembers of a book only saves it refused writes. The tests after "Test:" fail without the rule above them.

1. What is stored
=================
A **book** has the numbers of one client, product and period: `max`, `left`, `used`. Each process that serves the
client has one **lease** in it. What that holds for open requests is not in `left`: left + used + sum of held = max.

The table `quota` (keys: client_id, book) has the standing quota of each account, `account#<product>`, and its books,
`quota#<period>#<product>`; for each credit `once#<id>#<product>`; `in_force`, the QUOTA_PERIOD of those that serve.
The attributes of a book:

    max, left, used   tokens
    f, resets         the fence: no lease is created that expires at or before this moment; the number of resets
    l#<process>       a lease:
      o, r              held: tokens on hold for open requests; and the number of these
      c                 will: what to charge if this process is never heard of again
      n                 number of its last commit; negative once it was swept
      e                 expires_at, in Unix seconds of DynamoDB
      q, d              receipts that are charged here, and not yet known to be in `usage`; their last two fields
                        are in d, so that processes of version 0.1, which read q, can serve beside this one

An item of `usage` (keys: account, receipt) is one **receipt**: what one request was charged and why, or a swept lease,
or an operator's change. `used` is the sum of a book's receipts, in `usage` and in leases. Those in leases are the
**outbox**: a charge and its receipt are one write; the receipt is put into `usage` afterwards, as often as it takes.

A book is created on first use; a new period is a new item. DynamoDB deletes receipts 400 days after their period ends.
    Test: test_a_receipt_of_a_period_expires_400_days_after_its_end, test_a_receipt_without_period_stays,
    test_an_earlier_version_reads_the_leases_of_this_one

2. Why a lease for each process, and not a hold for each request
================================================================
DynamoDB bills and throttles each write by the size of the whole item (1,000 KB a second for one item). At 39 bytes for
each open hold, a client could have about 35 requests a second. With one lease for each process the item stays small,
and all requests that wait in a process go into one write: with 64 callers of one client, 0.10 UpdateItem a request.

3. The verbs
============
Each is one conditional UpdateItem; what operators do, and what creates items, is one transaction. `u` is the sum of
the receipts that are new in the lease; ' marks what the write puts. All but the two creations also need the book.

    verb            decided by               what it does                            only if
    commit          the process, for all     left += held - held' - u, used += u     number is what it last saw;
                    that waits at once       lease := (held', will', number',        with new holds, left stays >= 0
                                             expires_at', receipts not known
                                             to be put + new ones)
    first commit    the same                 the same, with held = 0                 lease absent; fence < expires_at';
                                                                                     with new holds, left stays >= 0
    sweep           whoever sees a lease     left += held - will, used += will       number is as read
                    that expired and         lease := (0, will, -number, now +
                    holds tokens             retention, receipts not known to be
                                             put + `lost` of will, with their r)
    revive          its process, when it     a commit without new holds; with a      number is as read (negative),
                    sees number < 0          receipt `late` of -will in it           will too
    remove          whoever sees a lease     lease is removed; the fence becomes     number is as read; all receipts
                    that expired and         its expires_at, if that is later        are put; the fence is not above
                    holds nothing                                                    what it becomes
    set the quota   an operator              max, left += new - old; account :=      max is as read; receipt is new
                                             new; a receipt of 0 tokens
    reset           an operator              left += a, used -= a, for a = used      used >= a; receipt is new;
                                             as read; resets += 1; for each swept    resets, and number and will
                                             lease will := 0, a receipt `late` of    of these leases, are as read
                                             -will; a receipt of -a + these wills
    credit          an operator              max, left += credit; its item; a receipt of 0   receipt and item are new
    bring over      an import                as set the quota, and left -= a, used += a      receipt and item are new;
                                             for a used elsewhere, whose receipts sum to a   max is as read
    forget          an operator              book, account and ids move to a         there is no lease; max, left and
                                             pseudonym, whose quota is 0             used are as read
    create client   the first request,       account and book                        both are absent
                    or an operator
    create book     the first request        book, of the account's standing         account is as read; book is absent
                    of a period              quota

Conditions are one number each: emulators and DynamoDB differ on more. The first test compares values and expressions.
    Test: test_a_write_is_applied_by_dynamodb_as_by_the_reference, test_credits_with_one_id_that_race_are_applied_once,
    test_without_a_condition_a_promise_breaks[expected_number], test_a_reset_that_was_decided_before_another_is_refused,
    test_without_a_condition_a_promise_breaks[expected_will], test_a_book_is_not_created_from_a_quota_that_was_changed,
    test_without_a_condition_a_promise_breaks[receipt], test_without_a_condition_a_promise_breaks[needed],
    test_without_a_condition_a_promise_breaks[resets], test_a_book_that_many_open_at_once_is_opened_once,
    test_without_a_condition_a_promise_breaks[fence], test_without_a_condition_a_promise_breaks[late],
    test_a_change_from_another_maximum_is_refused, test_a_hold_that_is_taken_meanwhile_is_not_lost,
    test_a_forgetting_that_is_killed_at_each_step_goes_on, test_two_who_forget_a_client_at_once_move_all_of_it_once,
    test_a_forgotten_client_that_asks_again_has_no_quota_until_it_is_given_one,
    test_an_import_that_is_killed_twice_and_started_again_doubles_nothing

4. The rules of a process
=========================
**Numbers are fresh.** Each distinct commit has a number that this process, whose id is new at each start, never used.
    Test: test_without_a_rule_a_promise_breaks[numbers_from_the_lease]

**One commit in flight for each book.** What arrives while it is in flight goes into the next one, together. A settle
waits 0.05 s for a hold or other settles to go with; a hold never waits.
    Test: test_requests_that_come_at_once_are_admitted_as_far_as_they_fit,
    test_a_settle_shares_the_commit_of_the_next_hold, test_a_settle_is_written_although_no_hold_comes

**Admission after the answer.** A request is admitted once a commit with its hold was answered as applied, or is shown
by the book to have been applied. Of those that wait the first that fit are admitted. One that does not fit gets 402, or
429 if it would fit with nothing held; a later one that wants less may still fit.
    Test: test_no_schedule_of_calls_and_faults_breaks_a_promise,
    test_a_smaller_request_may_fit_where_an_earlier_one_did_not

**The number tells the outcome, then the sign.** If |number| in the book is that of a commit, this commit was applied;
if the number is negative, the lease was swept since. A refused write shows the item (ALL_OLD): no second call.
    Test: test_lost_answers_charge_once, test_without_a_rule_a_promise_breaks[a_sweep_leaves_no_mark]

**Not answered: the same commit again**, until it is answered. It may have been applied, or may be at any later time,
so it is neither changed nor given up. The client of DynamoDB repeats nothing: it could not tell whether the first won.
Whoever waits for DynamoDB does not count the time in which the event loop of this process stood still (`patience`).
    Test: test_lost_answers_charge_once, test_whatever_is_no_clear_answer_is_ledger_unavailable,
    test_an_answer_that_cannot_be_understood_stops_no_settle, test_a_hold_is_not_refused_since_the_loop_stood_still

**Refused for lack of tokens after an attempt was lost: shut out.** The lost attempt may yet take tokens for requests
that were denied. A commit without new holds replaces it, and is sent until answered. Then its requests wait again: only
a refusal without lost attempts denies one. If the lost attempt arrived first, its requests are admitted.
    Test: test_a_request_is_not_denied_while_its_lost_hold_may_still_arrive,
    test_a_lost_hold_that_arrives_before_it_is_shut_out_is_admitted, test_without_a_rule_a_promise_breaks[no_resolving],
    test_a_request_that_fits_is_admitted_after_an_attempt_was_lost,
    test_without_a_rule_a_promise_breaks[denied_when_shut_out]

**Swept: revive first.** A process that finds its number negative takes its open holds again, and takes back the will
that was charged for them, before any new hold. If a reset came first, that has taken the will back, and set it 0.
    Test: test_without_a_rule_a_promise_breaks[no_revival], test_without_a_rule_a_promise_breaks[resets_take_no_wills],
    test_a_process_that_was_swept_and_comes_back_is_charged_what_it_used

**Lease gone: a new one.** It had been swept and then removed, and what was open is final. The new lease must pass the
fence, so no earlier write brings the old one back, and it ends no sooner than any that this process ever wrote.
    Test: test_a_process_that_comes_back_after_its_lease_was_removed_starts_anew,
    test_without_a_rule_a_promise_breaks[fences_stay_down],
    test_a_time_of_dynamodb_that_jumps_changes_no_charge_and_ends_no_lease_sooner

**Time is DynamoDB's**, as the header `Date` of its answers tells it (see `clock`). A lease is judged by the date of the
answer that shows it, which is never ahead, and written by a time that is never behind, but not before DynamoDB told its
own. Periods begin by it, and requests wait for it. The machine's clock decides nothing, unless answers have no date.
    Test: test_without_the_store_s_time_a_client_overspends, test_a_lease_is_not_written_before_the_time_is_known,
    test_no_commit_is_dated_by_a_time_in_doubt, test_a_first_request_is_charged_in_dynamodb_s_period,
    test_no_answer_is_dated_later_than_it_was_given_and_no_lease_ends_too_early

**Whoever sees an expired lease ends it**, after LEASE_GRACE_SECONDS more: a commit of another process,
/v1/client/info, what operators read, `gptdock audit`. Nothing scans for them. A process leaves its own lease alone. A
swept lease is kept for LEASE_RETAIN_SECONDS, an empty one until it expires: its process may have a write under way.
    Test: test_a_commit_sweeps_what_a_killed_process_held, test_a_killed_process_is_charged_by_its_will,
    test_an_audit_sweeps_the_leases_of_lost_processes, test_a_lease_ends_only_after_its_grace,
    test_a_lost_receipt_tells_how_many_requests_it_stands_for,
    test_a_process_leaves_its_own_lease_alone_when_it_expired, test_without_a_rule_a_promise_breaks[empty_leases_go]

**Receipts are put after the commit that charged them**, by anyone, any number of times: the same key always has the
same content, but for `d`. They leave the lease by a later commit or a sweep. Whoever ends a lease puts what is in it.
A lease has at most 64 in 10,000 bytes or, where there are more than two, in its share of 22,000: an item of 50 leases
stays below 100 KB. A charge that finds no room waits for the next commit, and holds what it costs until then. While a
process has 10,000 receipts to put, a hold waits, and is refused like one without an answer. A commit that DynamoDB
refuses for its size is followed by one with half its new receipts; after a lost attempt one without any goes first.
    Test: test_an_item_stays_under_100_kb_with_50_processes_with_the_longest_ids, test_a_full_outbox_lets_holds_wait,
    test_a_process_killed_between_settle_and_receipt_charges_exactly, test_a_lost_revival_that_does_not_fit_is_shut_out,
    test_no_schedule_breaks_a_promise_while_receipts_cannot_be_put, test_no_hold_is_taken_while_too_many_receipts_wait,
    test_a_commit_that_does_not_fit_into_the_item_becomes_smaller, test_receipts_are_put_after_an_outage_of_their_table,
    test_no_schedule_breaks_a_promise_while_the_item_is_full, test_a_request_costs_the_same_however_many_receipts_wait,
    test_a_lost_commit_that_does_not_fit_can_arrive_no_more, test_a_lease_keeps_few_receipts_and_none_is_lost,
    test_without_a_rule_a_promise_breaks[no_outbox], test_a_sweep_leaves_out_receipts_that_are_put

**Progress.** While requests are open, a commit every PROGRESS_SECONDS renews the expiry and writes the will anew: for
each open request what was surely used by now, plus what its model may generate until the next renewal, at most its
hold. `rates` learns how fast a model is; an answer that is seen to be faster counts as that. While a model is unknown,
wills are renewed 0.5, 1, 2 and 4 s after the request, too. Only those that are due are counted, after holds that wait.
    Test: test_open_holds_renew_their_lease_and_will, test_without_a_rule_a_promise_breaks[no_wills],
    test_a_killed_stream_is_charged_at_every_moment_what_it_spent, test_a_stream_of_a_known_model_takes_no_more_writes,
    test_a_hold_does_not_wait_until_all_open_requests_are_counted, test_streams_whose_will_is_not_due_are_not_counted

**A hold is an upper bound**: the prompt as counted + 8 + the longest answer that the upstream is asked for. If less is
left, the hold is that, and the answer is cut to it, down to 16 tokens. A usage above the hold is charged all the same.
    Test: test_a_demand_is_an_upper_bound_and_a_minimal_answer, test_the_last_hold_is_cut_to_what_is_left,
    test_a_hold_is_denied_if_a_minimal_answer_does_not_fit, test_usage_above_the_hold_is_charged

**A hold ends once**: the first end counts, and no cancellation undoes it. A request that leaves while its hold is in
flight gives the hold back as soon as its outcome is known. It settles in the period in which it was taken.
    Test: test_only_the_first_end_of_a_hold_counts, test_a_hold_that_ended_is_not_counted_later,
    test_a_caller_who_leaves_while_waiting_holds_nothing, test_books_balance_wherever_a_stream_is_cancelled,
    test_a_hold_settles_in_the_period_that_it_was_taken_in

**A process may forget a book** in which nothing is open. Its next commit is refused once, and so learns its lease.
    Test: test_a_forgotten_book_is_taken_up_again, test_a_book_with_an_open_hold_is_not_forgotten

5. What holds, and when
=======================
    always, with delays          left + used + held = max; no hold takes `left` below 0; receipts sum to `used`;
      of any length              `used` falls only by a revival or a reset
    for a process that lives     charged = generated, also after it was paused or cut off, if it is back before
                                 LEASE_RETAIN_SECONDS end
    for a process that died      generated <= charged <= generated + wills; but one that could not reach DynamoDB for
                                 longer than PROGRESS_SECONDS and then died may be charged less, by its open holds at
                                 most: a renewal that fails is an alarm
    no overspend                 a client never has more generated than its `max`, but for usage above a hold, and for
                                 a living process that was cut off for longer than its lease: by what its sweep freed

    Test: test_no_schedule_breaks_a_promise, test_small_worlds_keep_their_promises_in_every_schedule,
    test_no_schedule_of_calls_and_faults_breaks_a_promise, test_no_seed_makes_a_book_wrong

6. What a request is charged
============================
    outcome                                             charge                                             source
    refused or shed here; no quota; upstream not        0: the hold is released                            -
      reached, or answered by an error status or
      by something else than a completion
    usage was reported that can be believed             its total, also above the hold                     upstream
    it was sent, but no usage came: the caller left;    prompt + text received + unseen time, at most      counted
      the upstream broke off, stalled or sent an        the hold
      error; a stop cut it
    an attempt broke off without a status, more than    the same, beside what a later attempt costs        counted
      a second after it was sent; sooner: 0
    the process was lost                                its will                                           lost
    a lost process came back                            its will is taken back; its requests as above      late

    Unseen is all time of a stream whose head did not come, or of a whole answer without text; and the time in which a
    model may think (`gptdock.upstream`). A second counts as what the model generates (`rates`), 200 if unknown.
    Test: test_an_error_instead_of_the_first_event_has_a_status_and_costs_nothing,
    test_a_reported_usage_is_charged_even_if_it_is_above_the_hold,
    test_a_caller_who_leaves_pays_for_what_came_and_the_upstream_is_closed,
    test_a_caller_who_leaves_after_the_first_words_pays_for_thought_before_them,
    test_a_stream_without_text_costs_time_only_if_its_model_may_think_in_it,
    test_a_whole_answer_that_tells_neither_text_nor_usage_costs_its_time,
    test_time_before_the_head_is_charged_whatever_the_model, test_an_attempt_lost_after_a_second_is_charged_besides,
    test_a_caller_who_reads_slowly_teaches_nothing_of_a_model_s_rate

7. What is not covered
======================
- After a virtual machine stood still, the first commit of its processes is dated by the old time, and may be swept.
  What they had yet to read of an answer, whose caller left or whose deadline passed meanwhile, is not charged.
- A reset takes back 50 wills at most; of more swept leases the wills stay charged until the next.
- A will misses what an answer that is suddenly faster, or whose process died, generates from then on.
- Processes with different QUOTA_PERIOD work on different books; each logs it at its start, if it is not the last one's.
- Two processes with one id (of 48 random bits) would block each other. The searches have one book, and prove nothing.

8. Glossary
===========
The words of other packages are in .github/CONTRIBUTING.md.

    book            the numbers of one client, product and period: max = left + held + used
    commit          one write of a process to its lease: holds, settles, releases and progress that wait, all at once
    commit number   the number that a commit writes into its lease, fresh for each distinct one
    hold            tokens reserved for one request, from before the upstream is asked until the request ends
    lease           the part of a book that belongs to one process
    outcome         how a request ended: `complete`, `caller_left`, `released`, or the code of an error
    period          what a quota is for: `all`, a month or a day, in UTC
    receipt         what a request, a swept lease or an operator's change did to `used`, and why
    revive          take the open holds of one's own swept lease again, and its will back
    source          where the number of a charge comes from: `upstream`, `counted`, `lost`, ... (`book.Source`)
    sweep           end the lease of a lost process: charge its will, free the rest
    will            what a lease says to charge if its process is never heard of again
"""
