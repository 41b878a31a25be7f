// Before anything is drawn: the colours that were chosen, so that the page does not flash in the others.
document.documentElement.dataset.theme = localStorage.getItem("drover-theme") ?? "auto";
