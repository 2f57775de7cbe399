// The service counts Unicode code points; a JavaScript string counts UTF-16 units.

const HAS_PAIR = /[\ud800-\udbff][\udc00-\udfff]/;

/** Returns a function from a position in code points to an index of `text`. */
function indexer(text) {
  if (!HAS_PAIR.test(text)) return (position) => position;
  const starts = [0];
  for (const character of text) starts.push(starts.at(-1) + character.length);
  return (position) => starts[position];
}

/** Returns an answer whose spans and `answer_start` are string indices: `text.slice(...span)` is the phrase. */
export function withStringIndices(answer) {
  const index = indexer(answer.text);
  const entities = answer.entities.map((entity) => ({ ...entity, span: entity.span.map(index) }));
  return { ...answer, entities, answer_start: index(answer.answer_start) };
}
