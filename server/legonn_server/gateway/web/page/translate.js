// The text pane: translates what stands there, again with each pause of the fingers. One question is
// open at a time; while it is, newer text waits, so a slow server is never flooded.

const PAUSE = 120; // milliseconds

export class TextPane {
  constructor({ source, target, route }) {
    this.source = source;
    this.target = target;
    this.route = route;
    this.isAsking = false;
    this.asked = "";
    source.addEventListener("input", () => this.later());
    route.addEventListener("change", () => {
      this.asked = "";
      this.later();
    });
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), PAUSE);
  }

  async ask() {
    const text = this.source.value.trim();
    if (this.isAsking || text === this.asked) return;
    this.asked = text;
    if (!text) {
      this.target.textContent = "";
      return;
    }
    this.isAsking = true;
    this.target.classList.add("waiting");
    try {
      this.target.textContent = await this.translation(text);
    } catch (error) {
      this.asked = "";
      this.target.textContent = error.message;
    } finally {
      this.isAsking = false;
      this.target.classList.remove("waiting");
    }
    if (this.source.value.trim() !== text) this.later();
  }

  async translation(text) {
    const route = JSON.parse(this.route.value || "null");
    if (!route) throw new Error("This server has no module that translates text.");
    const config = {
      sourceLanguageCode: route.sourceLanguageCode,
      targetLanguageCode: route.targetLanguageCode,
      model: route.model,
    };
    const paragraphs = text.split("\n");
    const texts = paragraphs.filter((one) => one.trim());
    let answer;
    try {
      answer = await fetch("v1/translate", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ config, texts }),
      });
    } catch {
      throw new Error("The server is not there. The text is translated when it is back and you type on.");
    }
    const content = await answer.json();
    if (content.error) throw new Error(content.error.message);
    const found = content.items.map((item) => item.translation?.alternatives[0].text ?? `(${item.error.message})`);
    return paragraphs.map((one) => (one.trim() ? found.shift() : "")).join("\n");
  }
}
