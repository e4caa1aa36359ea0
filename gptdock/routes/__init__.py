"""OpenAI's routes: one room for each, which alone knows the shapes of its requests and answers.

A room reads a request and bounds its cost in tokens, because its hold is taken before the upstream is asked: the tokens
of what the model reads, and the longest answer, which is sent upstream as a limit. `requests` has what rooms share. And
it tells what an answer says, as the `Format` that `gptdock.upstream` asks for: text, usage, errors, the end. `relay`,
`upstream` and `ledger` know no room. All rooms are pure.
    Test: test_what_relays_an_answer_knows_no_route

What a caller can have be large for few tokens has a bound in bytes, too: `answer_bytes`.
    Test: test_an_answer_may_be_large_by_its_vectors_or_likely_tokens_alone

Nothing costs less for the form in which it comes: a string inside JSON counts as written or as the text that it is,
whichever has more tokens, tools as OpenAI counts them, and reasoning that the upstream has stored as a longest answer.
    Test: test_any_text_costs_its_tokens_wherever_it_stands,
    test_the_smallest_tools_cost_what_openai_counts_for_them,
    test_reasoning_that_the_upstream_recalls_costs_as_much_as_an_answer

Every field is metered or refused, as a table says for each route (`fields`). What the caller is told of it, the OpenAPI
document and .github/API.md are the same tables.
    Test: test_every_field_of_openai_s_package_is_in_the_table, test_the_page_of_the_api_has_the_table,
    test_the_openapi_document_has_the_fields_of_the_table_and_no_other,
    test_a_field_without_bounded_cost_or_sense_is_refused_and_named, test_an_operator_s_fields_pass_and_are_counted
"""
