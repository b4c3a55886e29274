// Constants that Python and JavaScript share: colors, color scale and thresholds of heat maps.
//
// The app serves this folder and the JSON file under the paths that they have in the repository, so one
// relative path is valid in the page, in Node and for the type checker.
export { default as constants } from "../../../promptweight/render/constants.json" with { type: "json" };
