// The format of Server-Sent Events: bytes as text come in, messages come out.

// A parser; `push(text)` returns the messages that became whole: [{ id, event, data }].
export function parser() {
  let rest = "";
  let id = null;
  let event = "message";
  let data = [];
  return {
    push(text) {
      const messages = [];
      const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) messages.push({ id, event, data: data.join("\n") });
          event = "message";
          data = [];
          continue;
        }
        const colon = line.indexOf(":");
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (name === "id") id = value;
        else if (name === "event") event = value;
        else if (name === "data") data.push(value);
      }
      return messages;
    },
  };
}
