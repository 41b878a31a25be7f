export { Energy as default } from "./figures.js";
