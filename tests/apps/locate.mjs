// A page's program finds the files that belong to it beside its script, not beside the page.
export default (module) => {
  module.locateFile = (name) => `/dist/apps/${name}`;
};
