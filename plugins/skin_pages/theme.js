// Airflow keeps the theme that was picked in its menu here; without one the system's is used.
const follow = () => {
  const theme = localStorage.getItem("theme");
  const picked = theme === "dark" || theme === "light";
  document.documentElement.style.colorScheme = picked ? theme : "light dark";
};
follow();
addEventListener("storage", follow);

// The frame in which Airflow shows us may not navigate the window, but the window itself may.
addEventListener("click", (event) => {
  const link = event.target.closest('a[target="_top"]');
  if (!link || parent === self) return;
  event.preventDefault();
  const same = parent.document.createElement("a");
  same.href = link.href;
  same.click();
});
