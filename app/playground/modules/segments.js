// Cuts the text of an answer at its phrases.

/** Returns the text as `{text, item, isPrompt}`; `item` is the index of the phrase, or undefined. */
export function segmentsOf(state) {
  if (state.request?.classes) return segmentsOfClasses(state);
  const { answer, items, promptText, streamedText } = state;
  if (answer !== null) {
    return cut(answer.text, marks(items, (item) => item.span), answer.answer_start);
  }
  if (state.request === null || (!state.isRunning && streamedText === "" && items.length === 0)) return [];
  const prompt = promptText === "" ? [] : [{ text: `${promptText} `, isPrompt: true }];
  return [...prompt, ...cut(streamedText, marks(items, (item) => item.answerSpan), 0)];
}

function marks(items, spanOf) {
  return items
    .map((item, index) => ({ span: spanOf(item), index }))
    .filter(({ span }) => span && span[0] < span[1])
    .sort((one, other) => one.span[0] - other.span[0]);
}

function cut(text, sorted, answerStart) {
  const segments = [];
  let position = 0;
  const plain = (end) => {
    // The prompt's part of the text ends inside plain text, or at a phrase.
    for (const stop of [Math.min(Math.max(position, answerStart), end), end]) {
      if (stop > position) segments.push({ text: text.slice(position, stop), isPrompt: stop <= answerStart });
      position = stop;
    }
  };
  for (const { span: [start, end], index } of sorted) {
    if (start < position) continue; // inside another phrase
    plain(start);
    segments.push({ text: text.slice(start, end), item: index });
    position = end;
  }
  plain(text.length);
  return segments;
}

// A detection has no text, so the page writes one.
function segmentsOfClasses({ items, threshold }) {
  return items.flatMap((item, index) => {
    const number = item.boxes.filter((box) => box.confidence >= threshold).length;
    const text = number === 0 ? `no ${item.name}` : `${number} × ${item.name}`;
    return [...(index === 0 ? [] : [{ text: ", " }]), { text, item: index }];
  });
}
