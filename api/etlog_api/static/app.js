// Wires the page: what happens becomes a message, the message a new state, and the state what is seen and done.

import { token } from "./api.js";
import { $, copy } from "./dom.js";
import { Effects } from "./effects.js";
import { listenToKeys } from "./keyboard.js";
import settings from "./settings.js"; // made by the server
import { initial, reduce } from "./state.js";
import { fromAddress, toAddress } from "./url.js";
import { Views } from "./views.js";

// The one place that holds the state.
class Store {
  constructor() {
    this.state = initial(fromAddress(location.search), settings);
    this.dispatch = this.dispatch.bind(this);
    this.views = new Views((part) => this.dispatch({ type: "viewChanged", part: typeof part === "function" ? part(this.state.view) : part }));
    this.effects = new Effects(this.state.view, this.dispatch, this.views, () => this.views.show(this.state));
  }

  dispatch(message) {
    const before = this.state;
    const [state, ...effects] = reduce(before, message);
    this.state = state;
    for (const effect of effects) this.effects.perform(effect);
    if (state !== before) this.effects.drawSoon();
  }
}

function listen(store) {
  const { dispatch, effects, views: { list } } = store;
  const pause = () => dispatch({ type: "pausePressed" });
  $("#pause").addEventListener("click", pause);
  $("#zone").addEventListener("click", () => dispatch({ type: "viewChanged", part: { zone: store.state.view.zone === "pipeline" ? "local" : "pipeline" } }));
  $("#pick").addEventListener("change", ({ target }) => location.assign(toAddress({ ...store.state.view, log: target.value, set: "" })));
  $("#report").addEventListener("click", () => effects.report());
  $("#newer").addEventListener("click", () => {
    if (store.state.model.paused) pause();
    else {
      list.toTop();
      effects.draw();
    }
  });
  $("#list").addEventListener("scroll", () => { if (list.node.scrollTop === 0) effects.drawSoon(); }, { passive: true });
  $("#copy-curl").addEventListener("click", (event) => copy($("#curl").textContent, event.target));
  $("#ask-token").addEventListener("close", () => dispatch({ type: "tokenDismissed" }));
  $("#ask-token form").addEventListener("submit", (event) => {
    event.preventDefault();
    token.set($("#token").value.trim());
    $("#token").value = "";
    $("#ask-token").close();
    dispatch({ type: "tokenGiven" });
  });
  addEventListener("popstate", () => dispatch({ type: "navigated", view: fromAddress(location.search) }));
  document.addEventListener("visibilitychange", () => dispatch({ type: "visibilityChanged", hidden: document.hidden }));
  addEventListener("resize", () => effects.drawSoon());
  listenToKeys({ list, pause });
}

const store = new Store();
listen(store);
store.dispatch({ type: "began", hidden: document.hidden });
